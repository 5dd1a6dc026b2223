"""uvicorn's HTTP/1.1 with a limit on the head of a request, which its parser has not."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["LimitedHttp"]

_HEAD_LIMIT_BYTES = 64 * 1024


class LimitedHttp(HttpToolsProtocol):
    """
    Ends a connection whose request line and headers go on for more than 64 KiB.

    What one read brings is always parsed first, so the memory that a client can take before it has
    shown a token is that limit and one read (256 KiB). Given to uvicorn as `http=`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True

    def data_received(self, data: bytes) -> None:
        """Parse what came; called by the event loop."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > _HEAD_LIMIT_BYTES:
            self.send_400_response(f"the head of the request is over {_HEAD_LIMIT_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """The head has ended; called by the parser."""
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        """The request has ended; called by the parser."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0
