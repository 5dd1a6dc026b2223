"""Objects are created, read, replaced and listed as clients of Kubernetes expect."""

from __future__ import annotations

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NODES = "/api/v1/nodes"


def test_an_object_comes_back_as_it_was_created(api, make):
    created = api.post(CONFIG_MAPS, make.config_map(k="v"))
    assert created["data"] == {"k": "v"}
    assert created["metadata"]["namespace"] == "default"
    assert api.get(f"{CONFIG_MAPS}/c") == created


def test_answers_are_of_exactly_the_type_that_clients_compare(api):
    for path in (CONFIG_MAPS, f"{CONFIG_MAPS}/absent"):
        assert api.ask("GET", path).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "code", "reason", "message"),
    [
        ("GET", f"{CONFIG_MAPS}/x", 404, "NotFound", 'configmaps "x" not found'),
        ("GET", "/apis/example.com/v1/widgets", 404, "NotFound", "the server could not find"),
        ("GET", "/nothing", 404, "NotFound", "the server could not find"),
        ("PUT", CONFIG_MAPS, 405, "MethodNotAllowed", "does not allow this method"),
        ("DELETE", "/api/v1/configmaps", 405, "MethodNotAllowed", "does not allow this method"),
        ("GET", "/api/v1/configmaps/x", 404, "NotFound", "the server could not find"),
    ],
)
def test_refusals_are_status_objects(api, method, path, code, reason, message):  # noqa: PLR0917
    response = api.ask(method, path)
    status = response.json()
    assert (response.status_code, status["code"]) == (code, code)
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["reason"] == reason
    assert message in status["message"]


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic the-admin"])
def test_a_request_without_a_valid_token_is_unauthorized(api, token):
    response = api.ask("GET", CONFIG_MAPS, headers={"authorization": token})
    assert response.status_code == 401
    assert response.json()["reason"] == "Unauthorized"


def test_health_and_version_need_no_token(api):
    headers = {"authorization": ""}
    assert api.ask("GET", "/readyz", headers=headers).text == "ok"
    version = api.ask("GET", "/version", headers=headers).json()
    assert version["gitVersion"] == "v1.34.0+meshmark"


def test_a_create_says_what_is_wrong_with_the_body(api, make):
    def refused(body, code, message, **kwargs):
        response = api.ask("POST", CONFIG_MAPS, body, **kwargs)
        assert response.status_code == code
        assert message in response.json()["message"]

    refused({"kind": "Secret"}, 400, "v1 Secret, but the request is for v1 ConfigMap")
    refused([], 400, "must be an object")
    refused({"metadata": {"name": "A_b"}}, 422, "metadata.name: Invalid value")
    refused({"data": {"k": 1}, "metadata": {"name": "a"}}, 400, "data.k of type string")
    refused({"metadata": {"name": "c", "namespace": "x"}}, 400, "does not match the namespace")
    refused({}, 501, "kubectl apply", type_="application/vnd.kubernetes.protobuf")
    refused({}, 415, "unknown format", type_="text/csv")
    assert api.ask("POST", CONFIG_MAPS, content=b"{").status_code == 400
    assert api.ask("POST", CONFIG_MAPS, content=b"[" * 100_000).status_code == 400


def test_a_body_over_the_limit_is_refused(api):
    response = api.ask("POST", CONFIG_MAPS, content=b" " * (3 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["reason"] == "RequestEntityTooLarge"


def test_yaml_is_taken_too(api):
    body = b"metadata: {name: y}\ndata: {a: b}\n"
    response = api.ask("POST", CONFIG_MAPS, content=body, type_="application/yaml")
    assert response.json()["data"] == {"a": "b"}


def test_a_stale_put_is_a_conflict(api, make):
    first = api.post(CONFIG_MAPS, make.config_map(k="1"))
    assert api.ask("PUT", f"{CONFIG_MAPS}/c", {**first, "data": {}}).status_code == 200
    response = api.ask("PUT", f"{CONFIG_MAPS}/c", {**first, "data": {"k": "3"}})
    assert response.status_code == 409
    assert response.json()["reason"] == "Conflict"
    assert api.ask("PUT", f"{CONFIG_MAPS}/c", make.config_map(k="4")).status_code == 200


def test_unknown_fields_are_refused_told_or_ignored_as_the_client_wants(api, make):
    body = {**make.config_map(), "dat": {}}
    strict = api.ask("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    assert strict.status_code == 400
    assert 'strict decoding error: unknown field "dat"' in strict.json()["message"]
    told = api.ask("POST", CONFIG_MAPS, body)
    assert told.headers["warning"] == '299 - "unknown field \\"dat\\""'
    assert "dat" not in told.json()
    ignored = api.ask("PUT", f"{CONFIG_MAPS}/c?fieldValidation=Ignore", body)
    assert "warning" not in ignored.headers


def test_lists_are_narrowed_by_selectors_and_come_in_pages(api, make):
    for name in ("a", "b", "c"):
        body = make.config_map(name)
        body["metadata"]["labels"] = {"odd": str(name != "b").lower()}
        api.post(CONFIG_MAPS, body)
    api.namespace("other")
    api.post("/api/v1/namespaces/other/configmaps", make.config_map("a"))

    def names(query):
        items = api.get(f"/api/v1/configmaps?{query}")["items"]
        return [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in items]

    assert names("labelSelector=odd%3Dtrue") == ["default/a", "default/c"]
    assert names("fieldSelector=metadata.name%3Da") == ["default/a", "other/a"]
    first = api.get("/api/v1/configmaps?limit=3")
    assert first["metadata"]["remainingItemCount"] == 1
    assert names(f"limit=3&continue={first['metadata']['continue']}") == ["other/a"]


def test_a_dry_run_answers_and_stores_nothing(api, make):
    created = api.post(f"{CONFIG_MAPS}?dryRun=All", make.config_map())
    assert created["metadata"]["uid"]
    assert api.ask("GET", f"{CONFIG_MAPS}/c").status_code == 404
    assert api.ask("POST", f"{CONFIG_MAPS}?dryRun=Some", make.config_map()).status_code == 400


def test_a_kind_that_nothing_acts_on_is_stored_with_a_warning(api):
    body = {"metadata": {"name": "l"}, "spec": {"limits": []}}
    response = api.ask("POST", "/api/v1/namespaces/default/limitranges", body)
    assert response.status_code == 201
    assert "nothing in the embedded engine acts on it" in response.headers["warning"]


def test_status_is_written_through_its_subresource_only(api, make):
    path = "/apis/apps/v1/namespaces/default/deployments"
    api.post(path, {**make.deployment(), "status": {"replicas": 7}})
    assert "status" not in api.get(f"{path}/web")
    patch = {"status": {"replicas": 1}, "spec": {"replicas": 9}}
    merge = "application/merge-patch+json"
    api.ask("PATCH", f"{path}/web/status", patch, type_=merge)
    obj = api.get(f"{path}/web")
    assert (obj["spec"]["replicas"], obj["status"]) == (1, {"replicas": 1})
    assert obj["metadata"]["generation"] == 1
    api.ask("PATCH", f"{path}/web", patch, type_=merge)
    assert api.get(f"{path}/web")["metadata"]["generation"] == 2


def test_the_scale_subresource_reads_and_writes_replicas(api, make):
    path = "/apis/apps/v1/namespaces/default/deployments"
    api.post(path, make.deployment(replicas=2))
    scale = api.get(f"{path}/web/scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)
    assert scale["status"]["selector"] == "app=web"
    patch = {"spec": {"replicas": 5}}
    api.ask("PATCH", f"{path}/web/scale", patch, type_="application/merge-patch+json")
    assert api.get(f"{path}/web")["spec"]["replicas"] == 5
    patch = {"spec": {"replicas": -1}}
    refused = api.ask("PATCH", f"{path}/web/scale", patch, type_="application/merge-patch+json")
    assert refused.status_code == 422


def test_what_is_not_supported_says_what_to_do_instead(api, make):
    pods = "/api/v1/namespaces/default/pods"
    api.post(pods, make.pod())
    for subresource, hint in (
        ("exec", "kubectl logs"),
        ("attach", "logs -f"),
        ("portforward", "proxy"),
    ):
        response = api.ask("POST", f"{pods}/p/{subresource}")
        assert response.status_code == 501
        assert hint in response.json()["message"]
