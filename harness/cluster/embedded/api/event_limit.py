"""Events do not pile up: Kubernetes forgets them after an hour, here the oldest make room."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Store
    from harness.cluster.embedded.watches import Change

__all__ = ["KEPT_EVENTS", "EventLimit"]

KEPT_EVENTS = 2000
"""Of the whole cluster; at about 1 kB each."""

_EVENTS: Key = ("", "events")


class EventLimit:
    """Listens to a store and deletes the event that was written to the longest ago."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: OrderedDict[tuple[str, str], None] = OrderedDict()
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        if resource.key != _EVENTS:
            return
        metadata = change.object["metadata"]
        place = (metadata["namespace"], metadata["name"])
        if change.type == "DELETED":
            self._places.pop(place, None)
            return
        self._places[place] = None
        self._places.move_to_end(place)
        if len(self._places) > KEPT_EVENTS:
            self._store.delete(_EVENTS, *next(iter(self._places)))
