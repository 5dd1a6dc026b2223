"""Binding of pods to the one node, as soon as they are there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harness.cluster.embedded.status import NotFound
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from harness.cluster.embedded.events import Events
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["Scheduler"]

_PODS = ("", "pods")
_NODES = ("", "nodes")


class Scheduler:
    """Binds each pod to the node, unless the pod asks for a node that this is not."""

    def __init__(self, store: Store, events: Events, node: str) -> None:
        self._store = store
        self._events = events
        self._node = node
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        pod = change.object
        if resource.key != _PODS or change.type == "DELETED" or pod["spec"].get("nodeName"):
            return
        # Not within the write that is being told of: others would hear of the two out of order.
        metadata = pod["metadata"]
        loop = asyncio.get_running_loop()
        loop.call_soon(self._schedule, metadata["namespace"], metadata["name"])

    def _schedule(self, namespace: str, name: str) -> None:
        try:
            pod = self._store.get(_PODS, namespace, name)
        except NotFound:
            return
        spec, metadata = pod["spec"], pod["metadata"]
        if spec.get("nodeName") or spec.get("schedulingGates") or "deletionTimestamp" in metadata:
            return
        why = self._mismatch(pod)
        if why:
            status = pod.get("status") or {}
            if not any(each["type"] == "PodScheduled" for each in status.get("conditions") or ()):
                condition = _condition("False") | {"reason": "Unschedulable", "message": why}
                pod["status"] = {**status, "phase": "Pending", "conditions": [condition]}
                self._store.update(_PODS, pod, subresource="status")
                self._events.warning(pod, "FailedScheduling", why)
            return
        pod["spec"]["nodeName"] = self._node
        self._events.normal(
            pod, "Scheduled", f"Successfully assigned {namespace}/{name} to {self._node}"
        )
        self._store.update(_PODS, pod)

    def _mismatch(self, pod: Obj) -> str:
        labels = self._store.peek(_NODES, None, self._node)["metadata"]["labels"]
        wanted = pod["spec"].get("nodeSelector") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node selector."
        return ""


def _condition(status: str) -> Obj:
    return {
        "type": "PodScheduled",
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(),
    }
