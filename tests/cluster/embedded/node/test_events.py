"""Events: their order is that of time, whichever component records them."""

from __future__ import annotations

from harness.cluster.embedded.events import Events
from harness.cluster.embedded.store import Store

EVENTS = ("", "events")
POD = {"kind": "Pod", "metadata": {"name": "web", "namespace": "default", "uid": "1"}}


def test_readers_that_sort_by_name_see_the_order_of_time() -> None:
    store = Store()
    store.create(("", "namespaces"), {"metadata": {"name": "default"}})
    kubelet, scheduler = Events(store, "kubelet"), Events(store, "default-scheduler")
    kubelet.normal(POD, "Created", "an earlier pod")
    scheduler.normal(POD, "Scheduled", "placed")
    kubelet.normal(POD, "Started", "runs")
    seen = [event["reason"] for event in store.list(EVENTS)[0]]
    assert seen == ["Created", "Scheduled", "Started"]
