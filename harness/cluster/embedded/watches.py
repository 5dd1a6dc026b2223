"""
Changes, and who hears of them.

A change is encoded once and its bytes are shared by all watchers. Each watcher has a bounded queue:
one that does not keep up is cut off with `Expired` and lists again, so that a stuck client costs
neither memory nor the others' time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster.embedded.status import Expired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.cluster.embedded.selectors import Selector

__all__ = ["Change", "Subscription"]

_QUEUED_CHANGES = 2048
"""Per watcher: two seconds of the fastest writing that this server does."""


class Change:
    """One write. `type` is ADDED, MODIFIED or DELETED; both objects are shared: never modify."""

    __slots__ = ("_lines", "object", "old", "resource_version", "type")

    def __init__(
        self, type_: str, obj: dict[str, Any], old: dict[str, Any] | None, resource_version: int
    ) -> None:
        self.type = type_
        self.object = obj
        self.old = old
        self.resource_version = resource_version
        self._lines: dict[tuple[str, str], bytes] = {}

    def seen_by(self, selector: Selector) -> str | None:
        """The event type for a watcher: leaving its selection is DELETED, entering is ADDED."""
        if self.type != "MODIFIED":
            return self.type if selector.matches(self.object) else None
        before = self.old is not None and selector.matches(self.old)
        after = selector.matches(self.object)
        if after:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None

    def line(self, type_: str, api_version: str) -> bytes:
        """The event as one line of JSON, newline included; made once for all watchers."""
        key = (type_, api_version)
        line = self._lines.get(key)
        if line is None:
            obj = self.object
            if obj.get("apiVersion") != api_version:
                obj = {**obj, "apiVersion": api_version}
            line = msgspec.json.encode({"type": type_, "object": obj}) + b"\n"
            self._lines[key] = line
        return line


class Subscription:
    """The queue of one watcher."""

    def __init__(
        self,
        selector: Selector,
        first: Iterable[tuple[str, Change]] = (),
        limit: int = _QUEUED_CHANGES,
    ) -> None:
        self._selector = selector
        self._pending: deque[tuple[str, Change]] = deque(first)
        self._limit = limit + len(self._pending)
        self._overrun = False
        self._ended = False
        self._wake = asyncio.Event()
        if self._pending:
            self._wake.set()

    def offer(self, change: Change) -> None:
        """Queue the change if the watcher is to see it."""
        if self._overrun:
            return
        type_ = change.seen_by(self._selector)
        if type_ is None:
            return
        if len(self._pending) >= self._limit:
            self._overrun = True
            self._pending.clear()
        else:
            self._pending.append((type_, change))
        self._wake.set()

    def end(self) -> None:
        """Let the watcher take what is queued, then end its stream."""
        self._ended = True
        self._wake.set()

    async def take(self) -> list[tuple[str, Change]]:
        """
        Wait for changes and return all that are queued, oldest first; empty means the end.

        Raises:
            Expired: when the queue was full, so that changes are missing.

        """
        await self._wake.wait()
        if self._overrun:
            raise Expired("the watch was too slow and missed changes: list again")
        taken = list(self._pending)
        self._pending.clear()
        if not self._ended:
            self._wake.clear()
        return taken
