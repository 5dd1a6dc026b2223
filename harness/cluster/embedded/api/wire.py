"""
One HTTP/1.1 exchange over a connection that the node has dialled, bodies streamed both ways.

Used for webhooks and for the pod and service proxies. Each exchange has a connection of its own,
closed at the end: a pooled one could outlive the pod behind its address.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

__all__ = ["Exchange", "WireError"]

_READ_BYTES = 64 * 1024
_CLOSE_S = 0.2
"""A TLS peer that never says goodbye would otherwise hold up an answer that is complete."""
_HEAD_BYTES = 64 * 1024
"""Of a response: as much as Go's and Node's servers take for a request, several times over."""

_Headers = list[tuple[bytes, bytes]]


class WireError(Exception):
    """The other side broke HTTP or closed early; the text says which."""


class Exchange:
    """
    A request and its response.

    As a context manager it owns the connection. `send` may run while `body` is read, in a task of
    its own: a server may answer before it has read everything.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()

    async def start(
        self, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Send the head of the request. Raises WireError when it is no valid head."""
        try:
            await self._put(h11.Request(method=method, target=target, headers=list(headers)))
        except h11.LocalProtocolError as error:
            raise WireError(f"the request cannot be passed on: {error}") from error

    async def send(self, body: AsyncIterator[bytes]) -> None:
        """
        Send the body and end the request.

        A server that has closed its side has said all that it wants to say: that is no error here,
        its answer decides.
        """
        with contextlib.suppress(ConnectionError, h11.LocalProtocolError):
            async for chunk in body:
                if chunk:
                    await self._put(h11.Data(data=chunk))
            await self._put(h11.EndOfMessage())

    async def response(self) -> tuple[int, _Headers]:
        """Code and headers of the final response. Raises WireError."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event.status_code, [
                    (bytes(key), bytes(value)) for key, value in event.headers
                ]
            if not isinstance(event, h11.InformationalResponse):
                raise WireError("the connection was closed before an answer")

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the response, as it arrives. Raises WireError when it is cut short."""
        while True:
            event = await self._next()
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def _put(self, event: h11.Event) -> None:
        # A server that answered and closed makes h11 refuse to go on sending: see `send`.
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    async def _next(self) -> object:
        try:
            while True:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    return event
                self._http.receive_data(await self._reader.read(_READ_BYTES))
        except (OSError, h11.RemoteProtocolError) as error:
            raise WireError(f"no valid answer: {error}") from error
