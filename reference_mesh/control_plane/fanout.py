"""
Views, and who watches them.

A view is compiled when its first watcher comes, and again when something that it read changes;
its value is shared by all watchers, so it is encoded once. A watcher holds one slot per view: the
generation that it has seen. However slow it is, it costs no memory, and what it gets next is the
newest value; values in between are never sent.

Changes are gathered for 5 ms, so that a rollout, which touches a service many times in a row,
does not compile its views for every step.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from reference_mesh.control_plane.logfmt import Log
from reference_mesh.control_plane.snapshot import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from reference_mesh.control_plane.snapshot import Snapshot

__all__ = ["Closed", "View", "Views"]

_log = Log("fanout")
_GATHER_S = 0.005

V = TypeVar("V")
D = TypeVar("D")


class Closed(Exception):
    """The process ends: streams end cleanly, and their proxies come back to another."""


class View(Generic[V]):
    """One compiled value and its generation, which grows when the value changes."""

    def __init__(self, compile_view: Callable[[Reader], V]) -> None:
        self._compile = compile_view
        self._changed = asyncio.Event()
        self._closed = False
        self.watchers = 0
        self.topics: frozenset[str] = frozenset()
        self.generation = 0
        self.value: V
        self._derived: dict[Hashable, object] = {}

    def compile(self, snapshot: Snapshot) -> bool:
        """Compile again; whether the value has changed."""
        reader = Reader(snapshot)
        value = self._compile(reader)
        self.topics = frozenset(reader.topics)
        if self.generation and value == self.value:
            return False
        self.value = value
        self.generation += 1
        self._derived.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return True

    def derived(self, key: Hashable, make: Callable[[], D]) -> D:
        """What is made of the present value under this key: once, for all who ask."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]  # type: ignore[return-value]

    def close(self) -> None:
        """Let every watcher know that nothing more will come."""
        self._closed = True
        self._changed.set()

    async def after(self, generation: int) -> V:
        """
        The newest value, once it is of a later generation than this one.

        Raises:
            Closed: the process ends.

        """
        while not self._closed and self.generation <= generation:
            await self._changed.wait()
        if self._closed:
            raise Closed
        return self.value


class Views:
    """All views that somebody watches now."""

    def __init__(self) -> None:
        self._views: dict[Hashable, View[object]] = {}
        self._by_topic: dict[str, set[Hashable]] = {}
        self._dirty: set[Hashable] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._snapshot: Snapshot
        self._closed = False
        self.compiled = 0
        self.changed = 0

    def attach(self, snapshot: Snapshot) -> None:
        """Compile from this snapshot."""
        self._snapshot = snapshot

    @property
    def watched(self) -> int:
        """How many views are watched."""
        return len(self._views)

    @property
    def watchers(self) -> int:
        """How many watches there are on all views together."""
        return sum(view.watchers for view in self._views.values())

    @contextlib.contextmanager
    def watching(self, key: Hashable, compile_view: Callable[[Reader], V]) -> Iterator[View[V]]:
        """
        Watch the view with this key, compiling it first if nobody watched it yet.

        Raises:
            Closed: the process ends.

        """
        if self._closed:
            raise Closed
        view: View[V] | None = self._views.get(key)  # type: ignore[assignment]
        if view is None:
            view = View(compile_view)
            self._views[key] = view  # type: ignore[assignment]
        view.watchers += 1
        try:
            if not view.generation:
                self._compile(key)
            yield view
        finally:
            view.watchers -= 1
            if not view.watchers:
                self._forget(key)

    def touch(self, topics: Iterable[str]) -> None:
        """Something about these topics has changed."""
        for topic in topics:
            self._dirty |= self._by_topic.get(topic, set())
        if self._dirty and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER_S, self.flush)

    def flush(self) -> None:
        """Compile every view that was touched, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dirty, self._dirty = self._dirty, set()
        for key in dirty & self._views.keys():
            try:
                self._compile(key)
            except Exception as error:
                _log.error("view not compiled; its last value stays", view=key, error=repr(error))

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        for view in self._views.values():
            view.close()

    def _compile(self, key: Hashable) -> None:
        view = self._views[key]
        before = view.topics
        self.compiled += 1
        self.changed += view.compile(self._snapshot)
        for topic in before - view.topics:
            self._unindex(topic, key)
        for topic in view.topics - before:
            self._by_topic.setdefault(topic, set()).add(key)

    def _forget(self, key: Hashable) -> None:
        view = self._views.pop(key)
        for topic in view.topics:
            self._unindex(topic, key)
        self._dirty.discard(key)

    def _unindex(self, topic: str, key: Hashable) -> None:
        keys = self._by_topic[topic]
        keys.discard(key)
        if not keys:
            del self._by_topic[topic]
