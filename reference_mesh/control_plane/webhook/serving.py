"""HTTPS for a webhook, with a certificate that may be replaced at any time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import uvicorn

from reference_mesh.control_plane.webhook.files import Followed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.applications import Starlette

__all__ = ["serving"]

_BACKLOG = 512
_GRACE_S = 1
"""How long calls may end by themselves when the process is told to end."""


@contextlib.asynccontextmanager
async def serving(
    application: Starlette, *, host: str, port: int, tls_dir: Path
) -> AsyncIterator[int]:
    """
    Serve the application within the block; yields the port.

    tls_dir: holds `tls.crt` and `tls.key`, as a mounted Secret of type kubernetes.io/tls. Each
        new connection gets the pair that lies there then.

    Raises:
        InvalidInput: there is no usable certificate.
        OSError: the address is in use.

    """
    context = _context(tls_dir)
    listener = socket.create_server((host, port), backlog=_BACKLOG)
    # Inherited by accepted connections. Head and body of an answer are two writes, and the second
    # would wait 40 ms for the peer's delayed acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_context_factory=lambda _config, _default: context,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to the process, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def _context(tls_dir: Path) -> ssl.SSLContext:
    """A context that takes over the newest certificate at each handshake."""
    certificate, key = tls_dir / "tls.crt", tls_dir / "tls.key"

    def fresh() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_cert_chain(certificate, key)
        return made

    followed = Followed((certificate, key), fresh)
    outer = followed.get()

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = followed.get()

    outer.sni_callback = choose
    return outer
