"""Whatever a client sends, it gets an answer of its own fault or none: never a defect of ours."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
PATHS = {
    "pod": "/api/v1/namespaces/default/pods",
    "deployment": "/apis/apps/v1/namespaces/default/deployments",
    "config_map": "/api/v1/namespaces/default/configmaps",
    "widget_crd": CRDS,
    "widget": "/apis/example.com/v1/namespaces/default/widgets",
}
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)

WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.text(max_size=2), st.dictionaries(st.just("a"), st.none()))),
    st.dictionaries(st.sampled_from(["name", "type", "x", "$patch"]), st.text(max_size=3)),
)


def paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from paths(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from paths(below, (*path, index))


def spoilt(obj, path, wrong):
    if not path:
        return wrong
    obj = copy.deepcopy(obj)
    at = obj
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = wrong
    return obj


def full_pod(make):
    pod = make.pod(volumes=[{"name": "v", "emptyDir": {}}], initContainers=[])
    pod["metadata"].update(labels={"a": "b"}, annotations={"c": "d"}, finalizers=["a/b"])
    pod["spec"]["containers"][0].update(
        ports=[{"name": "http", "containerPort": 80}],
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        resources={"limits": {"cpu": "1"}},
        readinessProbe={"httpGet": {"port": 80}},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    return pod


def body_of(make, name):
    return full_pod(make) if name == "pod" else getattr(make, name)()


FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", PATHS)
@FUZZ
@given(data=st.data())
def test_an_object_with_something_wrong_in_it(api, make, name, data):
    if name == "widget":
        api.ask("POST", CRDS, make.widget_crd())
    body = body_of(make, name)
    path = data.draw(st.sampled_from(list(paths(body))))
    body = spoilt(body, path, data.draw(WRONG))
    method = data.draw(st.sampled_from(["POST", "PUT"]))
    url = PATHS[name] if method == "POST" else f"{PATHS[name]}/p"
    response = api.ask(method, f"{url}?dryRun=All", body)
    assert response.status_code < 500 or response.status_code == 501, response.text


@pytest.mark.parametrize("type_", PATCHES)
@FUZZ
@given(data=st.data())
def test_a_patch_with_something_wrong_in_it(api, make, type_, data):
    api.ask("POST", PATHS["pod"], full_pod(make))
    patch = {"apiVersion": "v1", "kind": "Pod", **full_pod(make)}
    if type_.startswith("application/json-patch"):
        patch = [
            {"op": "add", "path": "/metadata/labels/x", "value": {"a": []}},
            {"op": "replace", "path": "/spec/containers/0/image", "value": "x"},
            {"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"},
            {"op": "remove", "path": "/spec/containers/0/env/0"},
        ]
    path = data.draw(st.sampled_from(list(paths(patch))))
    patch = spoilt(patch, path, data.draw(WRONG))
    url = f"{PATHS['pod']}/p?fieldManager=f&dryRun=All"
    response = api.ask("PATCH", url, patch, type_=type_)
    assert response.status_code < 500, response.text


@FUZZ
@given(data=st.data())
def test_a_schema_with_something_wrong_in_it_never_breaks_its_instances(api, make, data):
    crd = make.widget_crd()
    versions = crd["spec"]["versions"]
    path = data.draw(st.sampled_from(list(paths(versions))[1:]))
    crd["spec"]["versions"] = spoilt(versions, path, data.draw(WRONG))
    if api.ask("POST", CRDS, crd).status_code == 201:
        for body in (make.widget(), make.widget(size="x", parts=[{"id": 1}, 7], color=None)):
            for version in ("v1", "v1alpha1"):
                url = PATHS["widget"].replace("/v1/", f"/{version}/")
                body["apiVersion"] = f"example.com/{version}"
                response = api.ask("POST", url, body)
                assert response.status_code < 500, response.text
                listed = api.ask("GET", url, headers={"accept": "application/json;as=Table"})
                assert listed.status_code < 500, listed.text
        api.ask("DELETE", f"{CRDS}/widgets.example.com")


@pytest.mark.parametrize("depth", [50, 150, 300, 900, 5000])
def test_a_body_that_is_nested_deeply(api, make, depth):
    crd = make.widget_crd()
    for version in crd["spec"]["versions"]:
        open_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version["schema"] = {"openAPIV3Schema": open_object}
    api.post(CRDS, crd)
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"metadata":{"name":"w"},"spec":%s}' % nested
    response = api.ask("POST", PATHS["widget"], content=body)
    assert response.status_code in {201, 400}, response.text
    if response.status_code == 201:
        assert len(api.get(PATHS["widget"])["items"]) == 1
        assert api.ask("DELETE", f"{PATHS['widget']}/w").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=%00",
        "fieldSelector=a",
        "limit=x",
        "continue=x",
        "watch=true&resourceVersion=x",
        "watch=true&sendInitialEvents=true",
        "dryRun=x",
        "fieldValidation=x",
        "%FF=%FF",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_query_that_makes_no_sense(api, make, method, query):
    body = make.config_map() if method == "POST" else None
    response = api.ask(method, f"{PATHS['config_map']}?{query}", body)
    assert response.status_code < 500, response.text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/api/v1/namespaces//pods",
        "/api/v1/namespaces/default/pods/p/proxy/../../x",
        "/api/v1/namespaces/default/pods/p/log/more",
        "/api/v1/namespaces/default/pods/%2e%2e",
        "/api/v1/namespaces/default",
        "/apis/apps/v1/deployments/status",
        "/openapi",
        "/openapi/v3/apis/apps",
        "/meshmark",
        "/meshmark/v1/processes/x",
        "/" + "a/" * 2000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "OPTIONS"])
def test_a_path_that_leads_nowhere(api, method, path):
    response = api.ask(method, path, {} if method != "GET" else None)
    assert response.status_code < 500, response.text
    assert json.loads(response.text)["kind"]
