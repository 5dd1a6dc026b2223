"""The store keeps the promises of the Kubernetes API machinery."""

from __future__ import annotations

import asyncio

import pytest

from harness.cluster.embedded.status import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
)
from harness.cluster.embedded.store import Store

CONFIG_MAPS = ("", "configmaps")
NAMESPACES = ("", "namespaces")
PODS = ("", "pods")
DEPLOYMENTS = ("apps", "deployments")


def config_map(name="a", **data):
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


@pytest.fixture
def store():
    store = Store()
    store.create(NAMESPACES, {"metadata": {"name": "default"}})
    return store


def test_create_fills_in_what_the_server_owns(store):
    created = store.create(CONFIG_MAPS, config_map(k="v"))
    assert created["apiVersion"] == "v1"
    assert created["kind"] == "ConfigMap"
    assert created["metadata"]["uid"]
    assert created["metadata"]["resourceVersion"] == str(store.resource_version)
    assert store.get(CONFIG_MAPS, "default", "a") == created


def test_create_refuses_what_cannot_be_stored(store):
    store.create(CONFIG_MAPS, config_map())
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        store.create(CONFIG_MAPS, config_map())
    with pytest.raises(NotFound, match='namespaces "x" not found'):
        store.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "x"}})
    with pytest.raises(Invalid, match=r"metadata\.name: Required value"):
        store.create(CONFIG_MAPS, {"metadata": {"namespace": "default"}})
    with pytest.raises(BadRequest, match="resourceVersion"):
        store.create(CONFIG_MAPS, {"metadata": {"name": "b", "resourceVersion": "1"}})


def test_a_generated_name_keeps_its_prefix(store):
    obj = {"metadata": {"generateName": "job-", "namespace": "default"}}
    names = {store.create(CONFIG_MAPS, obj)["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


def test_a_stale_write_is_refused_and_one_without_version_is_not(store):
    first = store.create(CONFIG_MAPS, config_map(k="1"))
    second = store.update(CONFIG_MAPS, {**first, "data": {"k": "2"}})
    with pytest.raises(Conflict, match="has been modified"):
        store.update(CONFIG_MAPS, {**first, "data": {"k": "3"}})
    assert store.get(CONFIG_MAPS, "default", "a") == second
    assert store.update(CONFIG_MAPS, config_map(k="4"))["data"] == {"k": "4"}


def test_a_write_that_changes_nothing_is_not_seen(store):
    created = store.create(CONFIG_MAPS, config_map(k="1"))
    assert store.update(CONFIG_MAPS, config_map(k="1")) == created


def test_status_and_the_rest_are_written_apart(store):
    obj = {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 1}}
    created = store.create(DEPLOYMENTS, obj)
    assert created["metadata"]["generation"] == 1
    both = {**created, "spec": {"replicas": 2}, "status": {"replicas": 1}}
    assert "status" not in store.update(DEPLOYMENTS, {**both, "metadata": obj["metadata"]})
    stored = store.update(
        DEPLOYMENTS,
        {"metadata": obj["metadata"], "spec": {"replicas": 9}, "status": {"replicas": 1}},
        subresource="status",
    )
    assert stored["spec"] == {"replicas": 2}
    assert stored["status"] == {"replicas": 1}
    assert stored["metadata"]["generation"] == 2


def test_what_is_handed_out_is_a_copy(store):
    store.create(CONFIG_MAPS, config_map(k="1"))
    store.get(CONFIG_MAPS, "default", "a")["data"]["k"] = "broken"
    store.list(CONFIG_MAPS)[0][0]["data"]["k"] = "broken"
    assert store.get(CONFIG_MAPS, "default", "a")["data"] == {"k": "1"}


def test_a_dry_run_stores_nothing(store):
    store.create(CONFIG_MAPS, config_map("b"))
    before = store.resource_version
    store.create(CONFIG_MAPS, config_map("a"), dry_run=True)
    store.update(CONFIG_MAPS, config_map("b", k="1"), dry_run=True)
    store.delete(CONFIG_MAPS, "default", "b", options={"dryRun": ["All"]})
    assert store.resource_version == before
    assert [obj["metadata"]["name"] for obj in store.list(CONFIG_MAPS)[0]] == ["b"]


def test_the_last_finalizer_to_go_completes_the_deletion(store):
    obj = config_map()
    obj["metadata"]["finalizers"] = ["example.com/f"]
    store.create(CONFIG_MAPS, obj)
    left = store.delete(CONFIG_MAPS, "default", "a")
    assert not left.gone
    obj = store.get(CONFIG_MAPS, "default", "a")
    assert obj["metadata"]["deletionTimestamp"]
    with pytest.raises(Invalid, match="no new finalizers"):
        store.update(
            CONFIG_MAPS, {**obj, "metadata": {**obj["metadata"], "finalizers": ["example.com/g"]}}
        )
    del obj["metadata"]["finalizers"]
    store.update(CONFIG_MAPS, obj)
    with pytest.raises(NotFound):
        store.get(CONFIG_MAPS, "default", "a")


def test_a_pod_on_a_node_lingers_until_the_node_has_ended_it(store):
    spec = {"nodeName": "n", "terminationGracePeriodSeconds": 7}
    store.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
    assert not store.delete(PODS, "default", "p").gone
    assert store.get(PODS, "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 7
    assert store.delete(PODS, "default", "p", options={"gracePeriodSeconds": 0}).gone


def test_a_terminating_namespace_takes_nothing_new(store):
    store.create(NAMESPACES, {"metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes"]}})
    store.delete(NAMESPACES, None, "x")
    with pytest.raises(Forbidden, match="because it is being terminated"):
        store.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "x"}})


async def _take(watch, count):
    events = []
    async with asyncio.timeout(5):
        async for type_, obj in watch:
            events.append((type_, obj["metadata"]["name"]))
            if len(events) == count:
                break
    await watch.aclose()
    return events


def test_a_watch_without_version_starts_with_what_is_there(store):
    async def run():
        store.create(CONFIG_MAPS, config_map("a"))
        watch = store.watch(CONFIG_MAPS)
        return await _take(watch, 1)

    assert asyncio.run(run()) == [("ADDED", "a")]


def test_a_watch_goes_on_where_a_list_ended(store):
    async def run():
        store.create(CONFIG_MAPS, config_map("a"))
        _, version = store.list(CONFIG_MAPS)
        store.create(CONFIG_MAPS, config_map("b"))
        store.delete(CONFIG_MAPS, "default", "a")
        return await _take(store.watch(CONFIG_MAPS, resource_version=version), 2)

    assert asyncio.run(run()) == [("ADDED", "b"), ("DELETED", "a")]


def test_leaving_a_selection_is_a_deletion_and_entering_an_addition(store):
    def labelled(value):
        return {"metadata": {"name": "a", "namespace": "default", "labels": {"l": value}}}

    async def run():
        version = store.resource_version
        store.create(CONFIG_MAPS, labelled("no"))
        for value in ("yes", "no", "yes"):
            store.update(CONFIG_MAPS, labelled(value))
        watch = store.watch(CONFIG_MAPS, labels="l in (yes, maybe)", resource_version=version)
        return await _take(watch, 3)

    assert [type_ for type_, _ in asyncio.run(run())] == ["ADDED", "DELETED", "ADDED"]


def test_a_watch_from_forgotten_times_expires(store):
    created = store.create(CONFIG_MAPS, config_map(n="0"))
    for number in range(1500):
        store.update(CONFIG_MAPS, config_map(n=str(number + 1)))
    version = int(created["metadata"]["resourceVersion"])
    with pytest.raises(Expired):
        asyncio.run(_take(store.watch(CONFIG_MAPS, resource_version=version), 1))


def test_a_watcher_that_does_not_keep_up_is_cut_off(store):
    async def run():
        watch = store.watch(CONFIG_MAPS)
        await _first(watch)
        for number in range(5000):
            store.update(CONFIG_MAPS, config_map(n=str(number)))
        with pytest.raises(Expired, match="too slow"):
            async for _ in watch:
                pass

    async def _first(watch):
        async for _ in watch:
            return

    store.create(CONFIG_MAPS, config_map())
    asyncio.run(run())


@pytest.mark.parametrize(
    ("labels", "fields", "names"),
    [
        ("app=x", None, ["a"]),
        ("app!=x", None, ["b", "c"]),
        ("app", None, ["a", "b"]),
        ("!app", None, ["c"]),
        ("app in (x,y),tier notin (back)", None, ["a"]),
        ({"app": "y"}, None, ["b"]),
        (None, "metadata.name=c", ["c"]),
        (None, "metadata.name!=c,data.k=1", ["a"]),
        (None, {"metadata.namespace": "other"}, []),
    ],
)
def test_selectors(store, labels, fields, names):
    store.create(CONFIG_MAPS, _labelled("a", {"app": "x"}, k="1"))
    store.create(CONFIG_MAPS, _labelled("b", {"app": "y", "tier": "back"}))
    store.create(CONFIG_MAPS, _labelled("c", {}))
    items, _ = store.list(CONFIG_MAPS, "default", labels, fields)
    assert [item["metadata"]["name"] for item in items] == names


def _labelled(name, labels, **data):
    obj = config_map(name, **data)
    obj["metadata"]["labels"] = labels
    return obj


@pytest.mark.parametrize("text", ["app in x", "a=b=c", "a b"])
def test_a_selector_that_cannot_be_parsed_is_quoted(store, text):
    with pytest.raises(BadRequest):
        store.list(CONFIG_MAPS, labels=text)
