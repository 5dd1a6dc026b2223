"""One attempt of a probe: what makes it fail, and what it says then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster.embedded.probes import ProbeFailed, check_handler

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTAINER = {"name": "app"}
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nbytes"


async def no_command(_: Sequence[str]) -> tuple[int, str]:
    raise AssertionError


def attempt(handler: dict[str, Any]) -> None:
    asyncio.run(check_handler(handler, CONTAINER, "127.0.0.1", no_command, 1))


async def answered(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await check_handler({"httpGet": {"port": port}}, CONTAINER, "127.0.0.1", no_command, 1)


def test_an_answer_of_200_is_a_success() -> None:
    asyncio.run(answered(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "statuscode: 503"),
        (UPGRADE, "statuscode: 101"),
        (b"SSH-2.0-server\r\n", "malformed HTTP answer"),
        (b"", "closed before an answer"),
    ],
)
def test_any_other_answer_is_a_failure(answer: bytes, said: str) -> None:
    with pytest.raises(ProbeFailed, match=said):
        asyncio.run(answered(answer))


@pytest.mark.parametrize(
    "handler",
    [
        {"httpGet": {"port": 70000}},
        {"tcpSocket": {"port": 70000}},
        {"tcpSocket": {"port": 80, "host": "a" * 70}},
    ],
)
def test_what_cannot_be_attempted_has_failed(handler: dict[str, Any]) -> None:
    with pytest.raises(ProbeFailed):
        attempt(handler)
