"""What is deleted takes with it what it owns, and waits for what holds it."""

from __future__ import annotations

import pytest

from harness.cluster.embedded.api import event_limit

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NAMESPACES = "/api/v1/namespaces"
MERGE = "application/merge-patch+json"


def owned(make, name, owner, **more):
    obj = make.config_map(name)
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **more,
    }
    obj["metadata"]["ownerReferences"] = [reference]
    return obj


def names(api, path=CONFIG_MAPS):
    return [one["metadata"]["name"] for one in api.get(path)["items"]]


@pytest.fixture
def family(api, make):
    """A grandparent, a parent and a child."""
    top = api.post(CONFIG_MAPS, make.config_map("a"))
    middle = api.post(CONFIG_MAPS, owned(make, "b", top, blockOwnerDeletion=True))
    return api.post(CONFIG_MAPS, owned(make, "c", middle, blockOwnerDeletion=True))


def test_an_answer_names_what_is_gone(api, make):
    created = api.post(CONFIG_MAPS, make.config_map())
    status = api.ask("DELETE", f"{CONFIG_MAPS}/c").json()
    assert (status["kind"], status["status"]) == ("Status", "Success")
    uid = created["metadata"]["uid"]
    assert status["details"] == {"name": "c", "kind": "configmaps", "uid": uid}


def test_dependents_go_with_their_owner(api, family):
    api.ask("DELETE", f"{CONFIG_MAPS}/a")
    assert names(api) == []


def test_orphans_stay_without_their_reference(api, family):
    api.ask("DELETE", f"{CONFIG_MAPS}/a", {"propagationPolicy": "Orphan"})
    assert names(api) == ["b", "c"]
    assert "ownerReferences" not in api.get(f"{CONFIG_MAPS}/b")["metadata"]


def test_in_the_foreground_the_owner_goes_last(api, make, family):
    patch = {"metadata": {"finalizers": ["example.com/f"]}}
    api.ask("PATCH", f"{CONFIG_MAPS}/c", patch, type_=MERGE)
    api.ask("DELETE", f"{CONFIG_MAPS}/a?propagationPolicy=Foreground")
    assert names(api) == ["a", "b", "c"]
    assert api.get(f"{CONFIG_MAPS}/a")["metadata"]["finalizers"] == ["foregroundDeletion"]
    api.ask("PATCH", f"{CONFIG_MAPS}/c", {"metadata": {"finalizers": []}}, type_=MERGE)
    assert names(api) == []


def test_one_of_two_owners_is_enough(api, make):
    first = api.post(CONFIG_MAPS, make.config_map("a"))
    second = api.post(CONFIG_MAPS, make.config_map("b"))
    child = owned(make, "c", first)
    child["metadata"]["ownerReferences"] += owned(make, "c", second)["metadata"]["ownerReferences"]
    api.post(CONFIG_MAPS, child)
    api.ask("DELETE", f"{CONFIG_MAPS}/a")
    assert names(api) == ["b", "c"]
    api.ask("DELETE", f"{CONFIG_MAPS}/b")
    assert names(api) == []


def test_what_is_created_for_an_owner_that_is_gone_does_not_stay(api, make):
    owner = api.post(CONFIG_MAPS, make.config_map("a"))
    api.ask("DELETE", f"{CONFIG_MAPS}/a")
    api.post(CONFIG_MAPS, owned(make, "b", owner))
    assert names(api) == []


def test_preconditions_are_checked(api, make):
    uid = api.post(CONFIG_MAPS, make.config_map())["metadata"]["uid"]
    other = {"preconditions": {"uid": "other"}}
    assert api.ask("DELETE", f"{CONFIG_MAPS}/c", other).status_code == 409
    same = {"preconditions": {"uid": uid}}
    assert api.ask("DELETE", f"{CONFIG_MAPS}/c", same).status_code == 200


@pytest.mark.parametrize(
    "options",
    [{"propagationPolicy": "Sideways"}, {"gracePeriodSeconds": -1}, {"dryRun": ["Some"]}],
)
def test_options_that_mean_nothing_are_refused(api, make, options):
    api.post(CONFIG_MAPS, make.config_map())
    assert api.ask("DELETE", f"{CONFIG_MAPS}/c", options).status_code == 400
    assert names(api) == ["c"]


def test_a_collection_is_deleted_by_selector(api, make):
    for name in ("a", "b"):
        body = make.config_map(name)
        body["metadata"]["labels"] = {"n": name}
        api.post(CONFIG_MAPS, body)
    api.ask("DELETE", f"{CONFIG_MAPS}?labelSelector=n%3Da")
    assert names(api) == ["b"]


def test_a_namespace_takes_all_that_is_in_it(api, make):
    api.namespace("x")
    api.post(f"{NAMESPACES}/x/configmaps", make.config_map())
    api.ask("DELETE", f"{NAMESPACES}/x")
    assert api.ask("GET", f"{NAMESPACES}/x").status_code == 404
    assert api.get("/api/v1/configmaps")["items"] == []
    assert api.ask("POST", f"{NAMESPACES}/x/configmaps", make.config_map()).status_code == 404


def test_a_namespace_waits_for_running_pods_and_takes_nothing_new(api, make):
    api.namespace("x")
    api.post(f"{NAMESPACES}/x/pods", make.pod(nodeName="n"))
    api.ask("DELETE", f"{NAMESPACES}/x")
    assert api.get(f"{NAMESPACES}/x")["status"]["phase"] == "Terminating"
    refused = api.ask("POST", f"{NAMESPACES}/x/configmaps", make.config_map())
    assert refused.status_code == 403
    assert "because it is being terminated" in refused.json()["message"]
    assert api.get(f"{NAMESPACES}/x/pods/p")["metadata"]["deletionTimestamp"]
    api.store.delete(("", "pods"), "x", "p", options={"gracePeriodSeconds": 0})
    assert api.ask("GET", f"{NAMESPACES}/x").status_code == 404


def test_the_oldest_event_makes_room(api, monkeypatch):
    monkeypatch.setattr(event_limit, "KEPT_EVENTS", 3)
    for name in ("a", "b", "c"):
        api.store.create(("", "events"), {"metadata": {"name": name, "namespace": "default"}})
    repeated = {**api.store.get(("", "events"), "default", "a"), "count": 2}
    api.store.update(("", "events"), repeated)
    api.store.create(("", "events"), {"metadata": {"name": "d", "namespace": "default"}})
    assert names(api, "/api/v1/events") == ["a", "c", "d"]


def test_a_pod_is_evicted(api, make):
    api.post("/api/v1/namespaces/default/pods", make.pod())
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    api.post("/api/v1/namespaces/default/pods/p/eviction", body)
    assert names(api, "/api/v1/namespaces/default/pods") == []
