"""What is kept of a container's output."""

from __future__ import annotations

import asyncio
import os

from harness.cluster.embedded import logs
from harness.cluster.embedded.api.node import LogOptions
from harness.cluster.embedded.logs import ContainerLog


async def text(log: ContainerLog, **options: object) -> str:
    chunks = [chunk async for chunk in log.read(LogOptions(**options))]
    return b"".join(chunks).decode()


def test_the_last_lines_and_the_first_bytes() -> None:
    async def check() -> None:
        log = ContainerLog()
        log.append(b"one\ntwo\nth")
        log.append(b"ree\nrest")

        assert await text(log) == "one\ntwo\nthree\n"
        assert await text(log, tail_lines=1) == "three\n"
        assert await text(log, tail_lines=0) == ""
        assert await text(log, limit_bytes=5) == "one\nt"
        log.end()
        assert (await text(log)).endswith("rest")

    asyncio.run(check())


def test_the_oldest_lines_make_room(monkeypatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 10)

    async def check() -> None:
        log = ContainerLog()
        log.append(b"aaaa\nbbbb\ncccc\n")

        assert await text(log) == "bbbb\ncccc\n"

    asyncio.run(check())


def test_following_sees_what_comes_and_ends_with_the_container() -> None:
    async def check() -> None:
        log = ContainerLog()
        writing = log.pipe()
        following = asyncio.ensure_future(text(log, follow=True))
        for piece in (b"one\n", b"two\n"):
            os.write(writing, piece)
            await asyncio.sleep(0)
        os.close(writing)

        assert await asyncio.wait_for(following, 2) == "one\ntwo\n"

    asyncio.run(check())


def test_times_are_shown_when_asked_for() -> None:
    async def check() -> None:
        log = ContainerLog()
        log.append(b"one\n")
        when, _, line = (await text(log, timestamps=True)).partition(" ")

        assert line == "one\n"
        assert when.endswith("Z")

    asyncio.run(check())


def test_lines_are_bounded_however_short_they_are(monkeypatch) -> None:
    monkeypatch.setattr(logs, "MAX_LINES", 3)

    async def check() -> None:
        log = ContainerLog()
        log.append(b"".join(b"%d\n" % number for number in range(9)))

        assert await text(log) == "6\n7\n8\n"
        assert await text(log, tail_lines=2) == "7\n8\n"
        assert log.tail(1) == "8\n"
        assert log.tail(9) == "6\n7\n8\n"

    asyncio.run(check())
