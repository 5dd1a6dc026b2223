"""
What a container wrote: kept while its pod exists, bounded, and readable while it grows.

Lines carry the time at which they arrived, as the kubelet's log files do. When a bound is reached
the oldest lines go, so that a talkative container costs its own history only.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import os
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.cluster.embedded.api.node import LogOptions

__all__ = ["MAX_LINES", "MAX_LOG_BYTES", "ContainerLog"]

MAX_LOG_BYTES = 10 << 20
"""As the kubelet's default for one log file (containerLogMaxSize)."""

MAX_LINES = 100_000
"""About 10 MiB of lines of a usual length; each costs 100 bytes beside its text."""

_MAX_LINE_BYTES = 16 << 10
"""Longer lines are kept in pieces of this size, as container runtimes do."""
_READ_BYTES = 64 << 10


class ContainerLog:
    """The output of one run of one container."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, bytes]] = deque()
        self._dropped = 0
        self._bytes = 0
        self._partial = b""
        self.whole = asyncio.Event()
        """Set once nothing more will come."""
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pipe(self) -> int:
        """Make a pipe whose content becomes this log; returns the end to write, to be closed."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        loop = asyncio.get_running_loop()

        def take() -> None:
            try:
                chunk = os.read(reading, _READ_BYTES)
            except BlockingIOError:
                return
            if chunk:
                self.append(chunk)
                return
            loop.remove_reader(reading)
            os.close(reading)
            self.end()

        loop.add_reader(reading, take)
        return writing

    def append(self, chunk: bytes) -> None:
        """Add what was written; a line without its end is shown once it has one."""
        now_s = time.time()
        *whole, self._partial = (self._partial + chunk).split(b"\n")
        for line in whole:
            self._keep(now_s, line + b"\n")
        while len(self._partial) > _MAX_LINE_BYTES:
            self._keep(now_s, self._partial[:_MAX_LINE_BYTES] + b"\n")
            self._partial = self._partial[_MAX_LINE_BYTES:]
        self._tell()

    def end(self) -> None:
        """Nothing more will come; those who follow are done."""
        if self._partial:
            self._keep(time.time(), self._partial)
            self._partial = b""
        self.whole.set()
        self._tell()

    def tail(self, lines: int, max_bytes: int = 2048) -> str:
        """The last lines as text, for a message."""
        kept = [line for _, line in _from(self._lines, max(0, len(self._lines) - lines))]
        return b"".join(kept)[-max_bytes:].decode(errors="replace")

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        """Chunks as asked for; with `follow`, until the container has ended."""
        at = self._first(options)
        left = options.limit_bytes
        while True:
            at = max(at, self._dropped)
            chunk = b"".join(
                _shown(when_s, line, options.timestamps)
                for when_s, line in _from(self._lines, at - self._dropped)
            )
            at = self._dropped + len(self._lines)
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            if chunk:
                yield chunk
            if not options.follow or left == 0:
                return
            if at == self._dropped + len(self._lines):
                if self.whole.is_set():
                    return
                await asyncio.shield(self._news)

    def _first(self, options: LogOptions) -> int:
        first = self._dropped
        if options.tail_lines is not None:
            first = max(first, self._dropped + len(self._lines) - options.tail_lines)
        if options.since_s is not None:
            oldest_s = time.time() - options.since_s
            for when_s, _ in _from(self._lines, first - self._dropped):
                if when_s >= oldest_s:
                    break
                first += 1
        return first

    def _keep(self, now_s: float, line: bytes) -> None:
        self._lines.append((now_s, line))
        self._bytes += len(line)
        while self._bytes > MAX_LOG_BYTES or len(self._lines) > MAX_LINES:
            self._bytes -= len(self._lines.popleft()[1])
            self._dropped += 1

    def _tell(self) -> None:
        self._news.set_result(None)
        self._news = asyncio.get_running_loop().create_future()


def _from(lines: deque[tuple[float, bytes]], index: int) -> list[tuple[float, bytes]]:
    # From the end: who follows a long log wants the last few lines of it, again and again.
    newest = list(itertools.islice(reversed(lines), len(lines) - index))
    newest.reverse()
    return newest


def _shown(when_s: float, line: bytes, timestamps: bool) -> bytes:
    if not timestamps:
        return line
    when = dt.datetime.fromtimestamp(when_s, dt.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}000Z ".encode() + line
