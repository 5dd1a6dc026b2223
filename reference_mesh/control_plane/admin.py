"""
The admin port of a component: `/live`, `/ready` and `/metrics`, by hand-written HTTP/1.1.

Three fixed answers need no framework, and a component that answers before it has loaded one is
ready sooner. Each connection carries one request of at most 8 KiB within 5 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Admin", "serving"]

_HEAD_BYTES = 8192
_PATIENCE_S = 5.0
_UNFINISHED = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Admin:
    """What the admin port tells: whether the component can work now, and its metrics."""

    ready: Callable[[], bool]
    metrics: Callable[[], str]
    page: Callable[[str, str], tuple[int, str] | None] = lambda _path, _query: None
    """JSON pages of the component's own: status and body by path and query."""

    def answer(self, method: str, path: str, query: str = "") -> tuple[str, str, str]:
        """Status line, content type and body for one request."""
        if method not in {"GET", "HEAD"}:
            return "405 Method Not Allowed", _TEXT, "only GET\n"
        if path == "/live":
            return "200 OK", _TEXT, "live\n"
        if path == "/ready":
            good = self.ready()
            status = "200 OK" if good else "503 Service Unavailable"
            return status, _TEXT, "ready\n" if good else "not ready\n"
        if path == "/metrics":
            return "200 OK", _METRICS, self.metrics()
        own = self.page(path, query)
        if own is not None:
            return f"{own[0]} {http.HTTPStatus(own[0]).phrase}", _JSON, own[1]
        return "404 Not Found", _TEXT, "no such page; there are /live, /ready and /metrics\n"


@contextlib.asynccontextmanager
async def serving(admin: Admin, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve the admin port within the block; yields the port, which matters when 0 was asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, ValueError, TimeoutError, *_UNFINISHED):
                async with asyncio.timeout(_PATIENCE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
                    path, _, query = target.partition("?")
                    status, content_type, body = admin.answer(method, path, query)
                    writer.write(_response(status, content_type, body, head_only=method == "HEAD"))
                    await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, port, limit=_HEAD_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _response(status: str, content_type: str, body: str, *, head_only: bool) -> bytes:
    payload = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(payload)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else payload)
