"""
Events: what the control plane tells people who read `kubectl get events`.

Written in the background. The queue holds at most 100, since an event is a courtesy: when the API
is slow the newest ones are dropped and counted, and no caller waits.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import httpx2

from reference_mesh.control_plane.kube import client as kube
from reference_mesh.control_plane.logfmt import Log

if TYPE_CHECKING:
    from lightkube import AsyncClient

__all__ = ["Event", "Recorder"]

_log = Log("events")
_QUEUED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to the component's Deployment."""

    reason: str
    message: str
    severity: Literal["Normal", "Warning"] = "Normal"


class Recorder:
    """Writes events about one Deployment."""

    def __init__(self, client: AsyncClient, *, namespace: str, deployment: str) -> None:
        self._client = client
        self._namespace = namespace
        self._deployment = deployment
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUED)
        self.dropped = 0

    def record(self, event: Event) -> None:
        """Take an event; never blocks."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write what was taken, until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(kube.EVENTS.resource(self._document(event)))
            except httpx2.HTTPError as error:
                _log.warning("event not written", reason=event.reason, error=kube.reason(error))

    def _document(self, event: Event) -> dict[str, object]:
        now = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{self._deployment}.{uuid.uuid4().hex[:16]}",
                "namespace": self._namespace,
            },
            "involvedObject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": self._namespace,
                "name": self._deployment,
            },
            "reason": event.reason,
            "message": event.message,
            "type": event.severity,
            "source": {"component": self._deployment},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
