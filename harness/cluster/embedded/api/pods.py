"""Logs and eviction of pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from harness.cluster.embedded.api import asks
from harness.cluster.embedded.api.answers import json_answer
from harness.cluster.embedded.api.budgets import require_budget
from harness.cluster.embedded.api.node import LogOptions
from harness.cluster.embedded.api.objects import write_of
from harness.cluster.embedded.status import BadRequest, MethodNotAllowed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.node import NodeApi
    from harness.cluster.embedded.api.operations import Operations
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["Pods"]

_PODS = ("", "pods")
_REFUSED_WITHIN_S = 0.25
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class Pods:
    """Answers for pods what the store alone cannot."""

    def __init__(self, store: Store, operations: Operations, node: NodeApi) -> None:
        self._store = store
        self._operations = operations
        self._node = node

    async def log(self, ask: Ask) -> Response:
        """
        The log of a container as plain text; with `follow` until the container has ended.

        Raises:
            NotFound: no such pod.
            BadRequest: no such container, none named among several, or it has not started.

        """
        if ask.request.method != "GET":
            raise MethodNotAllowed
        place = ask.place
        pod = self._store.peek(_PODS, place.namespace, place.name)
        container = _container(pod, ask.query.get("container", ""))
        chunks = self._node.logs(place.namespace, place.name, container, _log_options(ask))
        # What the node refuses it refuses at once: then the answer can still be a Status. A log
        # that is silent so far starts without its first chunk, so that a client that goes is seen.
        first = asyncio.create_task(_next(chunks))
        try:
            await asyncio.wait({first}, timeout=_REFUSED_WITHIN_S)
            if first.done():
                first.result()
        except BaseException:
            first.cancel()
            raise
        return _Log(first, chunks)

    async def evict(self, ask: Ask) -> Response:
        """
        Delete a pod, unless its disruption budget forbids it now.

        Raises:
            NotFound: no such pod.
            TooManyRequests: its budget has no room.

        """
        if ask.request.method != "POST":
            raise MethodNotAllowed
        place = ask.place
        eviction = await asks.body_object(ask.request, stored=False)
        options = eviction.get("deleteOptions") or {}
        if ask.dry_run:
            options["dryRun"] = ["All"]
        require_budget(self._store, self._store.peek(_PODS, place.namespace, place.name))
        await self._operations.delete(_PODS, place.namespace, place.name, options, write_of(ask))
        done: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        return json_answer({**done, "status": "Success", "code": 201}, 201, warnings=ask.warnings)


class _Log(StreamingResponse):
    """A log whose first chunk was asked for already; owns the task that waits for it."""

    def __init__(self, first: asyncio.Task[bytes], chunks: AsyncIterator[bytes]) -> None:
        super().__init__(_chained(first, chunks), media_type="text/plain")
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._first.cancel()  # a client that went before the stream began


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks, b"")


async def _chained(
    first: asyncio.Future[bytes], chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    try:
        if chunk := await first:
            yield chunk
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _container(pod: Obj, wanted: str) -> str:
    metadata, spec = pod["metadata"], pod["spec"]
    names = [one["name"] for one in spec.get("containers") or ()]
    inits = [one["name"] for one in spec.get("initContainers") or ()]
    if not wanted:
        wanted = (metadata.get("annotations") or {}).get(_DEFAULT_CONTAINER, "")
    if not wanted and len(names) == 1:
        return str(names[0])
    if not wanted:
        listed = " ".join(names)
        more = f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
        raise BadRequest(
            f"a container name must be specified for pod {metadata['name']}, choose one of: "
            f"[{listed}]{more}"
        )
    if wanted not in {*names, *inits}:
        raise BadRequest(f"container {wanted} is not valid for pod {metadata['name']}")
    return wanted


def _log_options(ask: Ask) -> LogOptions:
    query = ask.query
    for name in ("sinceTime", "stream"):
        if query.get(name):
            raise BadRequest(f"{name} is not supported by this server: use sinceSeconds")
    return LogOptions(
        follow=query.get("follow") == "true",
        previous=query.get("previous") == "true",
        timestamps=query.get("timestamps") == "true",
        tail_lines=_whole(ask, "tailLines"),
        since_s=_whole(ask, "sinceSeconds"),
        limit_bytes=_whole(ask, "limitBytes"),
    )


def _whole(ask: Ask, name: str) -> int | None:
    text = ask.query.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise BadRequest(f'{name}: "{text}" is not a whole number, 0 or more')
    return int(text)
