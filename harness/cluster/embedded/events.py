"""
Events: what happened to an object, for `kubectl describe` and for whoever has to find out why.

A repetition raises the count of the event that is there, as Kubernetes' recorders do. Their number
is bounded; the oldest go first.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.status import Forbidden, NotFound
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["Events"]

_EVENTS = ("", "events")
_KEPT_EVENTS = 2000
"""About 2 MB; Kubernetes keeps one hour instead, which bounds nothing."""


class Events:
    """Records events of one component, such as `kubelet`."""

    def __init__(self, store: Store, component: str, host: str = "") -> None:
        self._store = store
        self._source = {"component": component} | ({"host": host} if host else {})
        self._known: OrderedDict[tuple[str, ...], tuple[str, str]] = OrderedDict()
        self._last = 0

    def normal(self, obj: Obj, reason: str, message: str, field: str = "") -> None:
        """Something went as it should."""
        self._record("Normal", obj, reason, message, field)

    def warning(self, obj: Obj, reason: str, message: str, field: str = "") -> None:
        """Something that the user may have to act on."""
        self._record("Warning", obj, reason, message, field)

    def _record(self, kind: str, obj: Obj, reason: str, message: str, field: str) -> None:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default")
        key = (metadata["uid"], kind, reason, message, field)
        now = timestamp()
        with contextlib.suppress(NotFound):
            if key in self._known:
                event = self._store.get(_EVENTS, *self._known[key])
                event |= {"count": event["count"] + 1, "lastTimestamp": now}
                self._store.update(_EVENTS, event)
                return
        involved: dict[str, Any] = {
            "apiVersion": obj.get("apiVersion", "v1"),
            "kind": obj.get("kind", "Pod"),
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        if "namespace" in metadata:
            involved["namespace"] = namespace
        if field:
            involved["fieldPath"] = field
        name = f"{metadata['name'][:200]}.{self._number():x}"
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
        }
        # A namespace that is going, or gone, takes no more events.
        with contextlib.suppress(NotFound, Forbidden):
            self._store.create(_EVENTS, event)
            self._known[key] = (namespace, name)
            self._forget_oldest()

    def _number(self) -> int:
        """Of the next event: unique, and by time over all components, as readers sort."""
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def _forget_oldest(self) -> None:
        while len(self._known) > _KEPT_EVENTS:
            _, place = self._known.popitem(last=False)
            with contextlib.suppress(NotFound):
                self._store.delete(_EVENTS, *place)
