"""
Reflectors: a kind of the API, kept in step with the objects that the cluster holds now.

Level-triggered: what counts is the state after the last event, and any doubt (an expired version,
a broken stream, silence) is settled by listing again. A reader never sees the list half applied,
and keeps the last known state while the API is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Protocol

import httpx2

from reference_mesh.control_plane.kube.client import reason
from reference_mesh.control_plane.logfmt import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightkube import AsyncClient

    from reference_mesh.control_plane.kube.client import Kind

__all__ = ["Reflector", "Sink", "backoff_s"]

_log = Log("reflector")

_WATCH_S = 290
"""How long the API server keeps one watch open."""

_SILENCE_S = _WATCH_S + 30.0
"""Quiet time after which the stream is taken for dead, and the kind is listed again."""

_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 5.0


class Sink(Protocol):
    """Where a reflector puts what it sees. Called on the event loop; must not raise."""

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """These objects are all that there are."""

    def put(self, item: dict[str, Any]) -> None:
        """This object is new or has changed."""

    def drop(self, item: dict[str, Any]) -> None:
        """This object is gone."""


def backoff_s(failures: int) -> float:
    """Pause after that many failures in a row: doubling, capped, with full jitter."""
    ceiling_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(failures, 10))
    return random.uniform(_FIRST_BACKOFF_S / 2, ceiling_s)  # noqa: S311 - spreads load


class Reflector:
    """
    One kind, or one object of it, followed into a sink.

    synced: set once the kind was listed for the first time. A kind that the API does not know
    counts as listed and empty, and is asked for again until its definition is installed.
    """

    def __init__(
        self,
        client: AsyncClient,
        kind: Kind,
        sink: Sink,
        *,
        namespace: str = "*",
        name: str | None = None,
    ) -> None:
        self._client = client
        self._kind = kind
        self._sink = sink
        self._scope: dict[str, Any] = {"namespace": namespace} if kind.namespaced else {}
        if name is not None:
            self._scope["fields"] = {"metadata.name": name}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow the kind until cancelled."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            listed_s = float("inf")
            try:
                version = await self._list()
                listed_s = loop.time()
                if failures:
                    _log.info("following again", kind=self._kind.plural)
                await self._watch(version)
                failures = 0
            except (httpx2.HTTPError, TimeoutError, ValueError) as error:
                # A list alone proves little: where every watch fails at once, it would be asked
                # for ten times a second.
                if loop.time() - listed_s > _LONGEST_BACKOFF_S:
                    failures = 0
                if _code(error) != httpx2.codes.GONE:
                    failures += 1
                    self._explain(error, failures)
            await asyncio.sleep(backoff_s(failures))

    async def _list(self) -> str | None:
        listing = self._client.list(self._kind.resource, **self._scope)
        objects = [item async for item in listing]
        self._sink.replace(objects)
        self.synced.set()
        return listing.resourceVersion

    async def _watch(self, version: str | None) -> None:
        stream: Any = self._client.watch(
            self._kind.resource, resource_version=version, server_timeout=_WATCH_S, **self._scope
        )
        async with contextlib.aclosing(stream):
            while True:
                try:
                    async with asyncio.timeout(_SILENCE_S):
                        change, item = await anext(stream)
                except TimeoutError:
                    return
                if change == "DELETED":
                    self._sink.drop(item)
                elif change in {"ADDED", "MODIFIED"}:
                    self._sink.put(item)

    def _explain(self, error: Exception, failures: int) -> None:
        if _code(error) == httpx2.codes.NOT_FOUND:
            if not self.synced.is_set():
                _log.warning("kind is not installed", kind=self._kind.plural)
            self._sink.replace([])
            self.synced.set()
        elif failures == 1 or failures % 20 == 0:
            _log.warning(
                "cannot follow; the last known state stays",
                kind=self._kind.plural,
                failures=failures,
                error=reason(error),
            )


def _code(error: Exception) -> int | None:
    """HTTP status of an answer, or the one that an ERROR event of a watch carries."""
    response = getattr(error, "response", None)
    if response is not None:
        code: int = response.status_code
        return code
    return getattr(getattr(error, "status", None), "code", None)
