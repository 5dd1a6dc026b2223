"""What the API server says, word for word where clients compare words."""

from __future__ import annotations

import contextlib
import json

import pytest

from harness.waiting import until

pytestmark = pytest.mark.cluster

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
def api(bench):
    """HTTP to the core objects of the bench's namespace."""
    with bench.cluster.api_http(f"/api/v1/namespaces/{bench.namespace}") as http:
        yield http


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, object]:
    metadata = {"name": name, "labels": labels or {}}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return made | {"data": data} if data else made


def made(api, name: str, labels: dict[str, str] | None = None, **data: str) -> dict:
    answer = api.post("/configmaps", json=config(name, labels, **data))
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer, code: int, reason: str) -> str:
    """The message of a Status with this code and reason."""
    said = answer.json()
    assert (answer.status_code, said["kind"], said["reason"]) == (code, "Status", reason), said
    return said["message"]


@contextlib.contextmanager
def watched(api, **parameters: str):
    """Events of a watch, as they come."""
    query = {"watch": "true", "timeoutSeconds": "20", **parameters}
    with api.stream("GET", "/configmaps", params=query) as answer:
        assert answer.status_code == 200
        yield (json.loads(line) for line in answer.iter_lines())


def test_a_watch_goes_on_where_a_list_ended(api) -> None:
    made(api, "before")
    version = api.get("/configmaps").json()["metadata"]["resourceVersion"]
    first = made(api, "one", colour="red")
    with watched(api, resourceVersion=version) as events:
        event = next(events)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "one")
        patch = {"data": {"colour": "blue"}}
        api.patch("/configmaps/one", json=patch, headers={"Content-Type": MERGE})
        event = next(events)
        assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"colour": "blue"})
        api.delete("/configmaps/one")
        event = next(events)
        assert (event["type"], event["object"]["metadata"]["uid"]) == (
            "DELETED",
            first["metadata"]["uid"],
        )


def test_leaving_a_selection_is_a_deletion_to_who_watches_it(api) -> None:
    version = api.get("/configmaps").json()["metadata"]["resourceVersion"]
    made(api, "one", {"tier": "a"})
    with watched(api, resourceVersion=version, labelSelector="tier=a") as events:
        assert next(events)["type"] == "ADDED"
        patch = {"metadata": {"labels": {"tier": "b"}}}
        api.patch("/configmaps/one", json=patch, headers={"Content-Type": MERGE})
        assert next(events)["type"] == "DELETED"


def test_a_write_on_an_old_version_is_a_conflict(api) -> None:
    first = made(api, "one", colour="red")
    again = api.put("/configmaps/one", json={**first, "data": {"colour": "blue"}})
    assert again.status_code == 200
    message = refused(api.put("/configmaps/one", json=first), 409, "Conflict")

    assert "the object has been modified; please apply your changes to the latest" in message
    assert refused(api.post("/configmaps", json=config("one")), 409, "AlreadyExists") == (
        'configmaps "one" already exists'
    )
    stale = {
        "metadata": {"resourceVersion": first["metadata"]["resourceVersion"]},
        "data": {"x": "y"},
    }
    answer = api.patch("/configmaps/one", json=stale, headers={"Content-Type": MERGE})
    refused(answer, 409, "Conflict")


def test_what_is_missing_is_named(api) -> None:
    assert refused(api.get("/configmaps/none"), 404, "NotFound") == 'configmaps "none" not found'
    assert "could not find the requested resource" in refused(api.get("/nothings"), 404, "NotFound")


def test_the_four_patches_do_what_each_promises(api) -> None:
    made(api, "one", keep="1", drop="2")

    def patched(type_: str, body: object, **query: str) -> dict:
        answer = api.patch(
            "/configmaps/one", json=body, params=query, headers={"Content-Type": type_}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    assert patched(MERGE, {"data": {"drop": None, "new": "3"}}) == {"keep": "1", "new": "3"}
    steps = [
        {"op": "test", "path": "/data/keep", "value": "1"},
        {"op": "replace", "path": "/data/new", "value": "4"},
    ]
    assert patched(JSON_PATCH, steps) == {"keep": "1", "new": "4"}
    assert patched(STRATEGIC, {"data": {"more": "5"}})["more"] == "5"
    applied = {**config("one", keep="6")}
    answer = api.patch(
        "/configmaps/one",
        json=applied,
        params={"fieldManager": "contract"},
        headers={"Content-Type": APPLY},
    )
    assert ".data.keep" in refused(answer, 409, "Conflict")
    assert patched(APPLY, applied, fieldManager="contract", force="true")["keep"] == "6"
    gone = patched(APPLY, config("one"), fieldManager="contract")
    assert "keep" not in gone, "a manager that no longer applies a field that it owns removes it"
    wrong = [{"op": "test", "path": "/data/new", "value": "no"}]
    answer = api.patch("/configmaps/one", json=wrong, headers={"Content-Type": JSON_PATCH})
    refused(answer, 422, "Invalid")


def test_a_strategic_patch_meets_containers_by_their_names(bench, api) -> None:
    bench.pod("two", "sleep 1000", labels={"app": "two"}, nodeSelector={"nowhere": "yes"})
    body = {"spec": {"containers": [{"name": "app", "image": "meshmark.dev/other:1"}]}}
    answer = api.patch("/pods/two", json=body, headers={"Content-Type": STRATEGIC})
    [container] = answer.json()["spec"]["containers"]

    assert container["image"] == "meshmark.dev/other:1"
    assert container["args"] == ["sleep 1000"]


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ("tier=a", {"one", "three"}),
        ("tier!=a", {"two", "bare"}),
        ("tier in (a,b),zone", {"three"}),
        ("tier notin (a)", {"two", "bare"}),
        ("!tier", {"bare"}),
        ("tier,!zone", {"one", "two"}),
    ],
)
def test_labels_select(api, selector: str, chosen: set[str]) -> None:
    made(api, "one", {"tier": "a"})
    made(api, "two", {"tier": "b"})
    made(api, "three", {"tier": "a", "zone": "x"})
    made(api, "bare")
    found = api.get("/configmaps", params={"labelSelector": selector}).json()["items"]
    ours = {each["metadata"]["name"] for each in found} - {"kube-root-ca.crt"}

    assert ours == chosen


def test_fields_select(bench, api) -> None:
    for name in ("here", "there"):
        bench.pod(name, "sleep 1000")
    bench.ready("here", "there")
    node = api.get("/pods/here").json()["spec"]["nodeName"]

    def named(selector: str) -> set[str]:
        found = api.get("/pods", params={"fieldSelector": selector}).json()["items"]
        return {each["metadata"]["name"] for each in found}

    assert named("metadata.name=here") == {"here"}
    assert named("status.phase=Running,metadata.name!=here") == {"there"}
    assert "here" in named(f"spec.nodeName={node}")
    answer = api.get("/pods", params={"fieldSelector": "spec.colour=red"})
    assert "field label not supported" in refused(answer, 400, "BadRequest")


def test_lists_come_in_pages(api) -> None:
    for number in range(5):
        made(api, f"page-{number}", {"paged": "yes"})
    query = {"limit": "2", "labelSelector": "paged=yes"}
    names: list[str] = []
    while True:
        answer = api.get("/configmaps", params=query).json()
        names += [each["metadata"]["name"] for each in answer["items"]]
        if not answer["metadata"].get("continue"):
            break
        query["continue"] = answer["metadata"]["continue"]

    assert names == [f"page-{number}" for number in range(5)]


def test_dependents_go_with_their_owner(api) -> None:
    owner = made(api, "owner")
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    child = config("child")
    child["metadata"]["ownerReferences"] = [reference]
    orphan = config("orphan")
    orphan["metadata"]["ownerReferences"] = [{**reference, "name": "none", "uid": "no-such-uid"}]
    for each in (child, orphan):
        assert api.post("/configmaps", json=each).status_code == 201
    api.delete("/configmaps/owner")

    for name in ("child", "orphan"):
        until(
            lambda name=name: api.get(f"/configmaps/{name}").status_code,
            what=f"{name} collected",
            timeout_s=60,
            holds=lambda code: code == 404,
        )


def test_a_finalizer_holds_a_deletion_up(api) -> None:
    held = config("held")
    held["metadata"]["finalizers"] = ["meshmark.dev/contract"]
    assert api.post("/configmaps", json=held).status_code == 201
    api.delete("/configmaps/held")
    left = api.get("/configmaps/held").json()
    assert left["metadata"]["deletionTimestamp"]
    free = {"metadata": {"finalizers": None}}
    api.patch("/configmaps/held", json=free, headers={"Content-Type": MERGE})

    assert api.get("/configmaps/held").status_code == 404


def test_preconditions_guard_a_deletion(api) -> None:
    made(api, "one")
    body = {"preconditions": {"uid": "another"}}
    message = refused(api.request("DELETE", "/configmaps/one", json=body), 409, "Conflict")

    assert "the UID in the precondition (another) does not match the UID in record" in message


def test_a_disruption_budget_holds_evictions_up(bench, api) -> None:
    bench.apply("""
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: keep}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: guarded}}
""")
    bench.pod("one", "sleep 1000", labels={"app": "guarded"})
    bench.pod("free", "sleep 1000")
    bench.ready("one", "free")

    def evict(name: str):
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        return api.post(f"/pods/{name}/eviction", json=body)

    message = refused(evict("one"), 429, "TooManyRequests")
    assert message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert evict("free").status_code == 201
    until(lambda: bench.show("free") is None, what="the other evicted", timeout_s=20)
    assert bench.show("one").metadata.deletionTimestamp is None


def test_tokens_are_reviewed_for_their_audience(bench, api) -> None:
    def token(*audiences: str) -> str:
        spec = {"audiences": list(audiences), "expirationSeconds": 600}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = api.post("/serviceaccounts/default/token", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["status"]["token"]

    def review(token: str, *audiences: str) -> dict:
        spec = {"token": token, "audiences": list(audiences)}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        with bench.cluster.api_http() as root:
            answer = root.post("/apis/authentication.k8s.io/v1/tokenreviews", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["status"]

    known = review(token("mesh"), "mesh", "other")
    assert known["authenticated"] is True
    assert known["audiences"] == ["mesh"]
    assert known["user"]["username"] == f"system:serviceaccount:{bench.namespace}:default"
    assert f"system:serviceaccounts:{bench.namespace}" in known["user"]["groups"]
    for wrong in (review(token("mesh"), "other"), review("no.such.token", "mesh")):
        assert not wrong.get("authenticated")
        assert "user" not in wrong or not wrong["user"].get("username")
