"""
gRPC servers of the control plane, plain text: the sidecar in front of them does the mTLS.

Handlers are given as functions from a decoded request to encoded bytes. Views are encoded once
for all who watch them, so the server must not encode them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

__all__ = ["MAX_REQUEST_BYTES", "serving", "stopped"]

MAX_REQUEST_BYTES = 64 * 1024
"""Largest request: a certificate request with a token is the largest there is, under 8 KiB."""

_GRACE_S = 3.0
"""How long calls may end by themselves after a signal. Watches are told, and end at once."""

_OPTIONS = (
    # A proxy pings every 10 s, idle or not; refusing that would cut its watches.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # A client that vanished without a word is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


@contextlib.asynccontextmanager
async def serving(
    handlers: Iterable[grpc.GenericRpcHandler[Any, Any]], *, address: str
) -> AsyncIterator[int]:
    """
    Serve these handlers within the block; yields the port.

    address: `host:port`; port 0 takes a free one.

    Raises:
        RuntimeError: the address is in use, or is not an address.

    """
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers(tuple(handlers))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(_GRACE_S)


async def stopped() -> None:
    """Return when the process is told to end, by SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
