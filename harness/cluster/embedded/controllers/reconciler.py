"""
The loop under every controller: bring one object into line, again whenever something changed.

Level-triggered: what is queued is the name of an object, never what happened to it, so that no
order of events and no lost one matters. One object is worked on by one task at a time, different
ones side by side, since a slow webhook must not hold up the others.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING

from harness.cluster.embedded.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Name", "Reconciler"]

Name = tuple[str, str]
"""Namespace and name."""

_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 5.0


class Reconciler:
    """Calls `work` with each name that was queued; with back-off again when it raised."""

    def __init__(self, group: asyncio.TaskGroup, work: Callable[[Name], Awaitable[None]]) -> None:
        self._group = group
        self._work = work
        self._active: set[Name] = set()
        self._again: set[Name] = set()
        self._failures: dict[Name, int] = {}
        self._timers: dict[Name, asyncio.TimerHandle] = {}

    def queue(self, name: Name) -> None:
        """Have `name` worked on now, or again after the work on it that is on."""
        if name in self._active:
            self._again.add(name)
            return
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        self._active.add(name)
        self._group.create_task(self._run(name))

    def queue_after(self, name: Name, seconds: float) -> None:
        """Have `name` worked on later; the earliest of several times counts."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(name)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[name] = loop.call_later(seconds, self._due, name)

    def _due(self, name: Name) -> None:
        self._timers.pop(name, None)
        self.queue(name)

    async def _run(self, name: Name) -> None:
        while True:
            self._again.discard(name)
            try:
                await self._work(name)
                self._failures.pop(name, None)
            except ApiError:
                # The outcome of a conflict, a refusing webhook or an object that has gone. Who
                # writes says so in a condition or an event.
                self._retry(name)
            except Exception as error:  # one object must not end the cluster
                traceback.print_exception(error, file=sys.stderr)
                self._retry(name)
            if name not in self._again:
                break
        self._active.discard(name)

    def _retry(self, name: Name) -> None:
        failures = self._failures.get(name, 0)
        self._failures[name] = failures + 1
        self.queue_after(name, min(_FIRST_RETRY_S * 2**failures, _LONGEST_RETRY_S))
