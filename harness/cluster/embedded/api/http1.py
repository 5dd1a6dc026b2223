"""uvicorn's HTTP/1.1 with limits on the head of a request, which it has not: bytes and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["LimitedHttp"]

_HEAD_LIMIT_BYTES = 64 * 1024
_HEAD_LIMIT_S = 32.0
"""What kube-apiserver allows (its `ReadHeaderTimeout`)."""


class LimitedHttp(HttpToolsProtocol):
    """
    Ends a connection whose request line and headers go on for more than 64 KiB, or for 32 s.

    What one read brings is always parsed first, so the memory that a client can take before it has
    shown a token is that limit and one read (256 KiB). The time counts from the connection, and for
    later requests from their first byte: before that, uvicorn's keep-alive has a limit of its own.
    Given to uvicorn as `http=`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._too_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head; called by the event loop."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer; called by the event loop."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; called by the event loop."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > _HEAD_LIMIT_BYTES:
            self.send_400_response(f"the head of the request is over {_HEAD_LIMIT_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A head has begun; called by the parser."""
        super().on_message_begin()
        if self._too_late is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head has ended; called by the parser."""
        super().on_headers_complete()
        self._in_head = False
        self._stop_waiting()

    def on_message_complete(self) -> None:
        """The request has ended; called by the parser."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def _expect_head(self) -> None:
        # No answer: one to a client that does not read would keep the connection.
        self._too_late = self.loop.call_later(_HEAD_LIMIT_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
