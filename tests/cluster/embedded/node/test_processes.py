"""What the engine and process 1 tell each other about processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.embedded import spawner
from harness.cluster.embedded.processes import ProcessStarter
from harness.errors import ClusterError


class Listener:
    """Takes the engine's end of the socket, and looks at each pid that is told of."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.zombies: list[bool] = []

    def send(self, message: bytes) -> None:
        news = json.loads(message)
        self.told.append(news)
        self.zombies.append(Path(f"/proc/{news['exit']}").exists())


def ended(by: int) -> int:
    """A child that has ended and is not reaped: with a code, or negative by a signal."""
    child = os.fork()
    if child == 0:
        if by < 0:
            os.kill(os.getpid(), -by)
        os._exit(by)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return child


def test_an_end_is_told_before_the_pid_is_free() -> None:
    children = {ended(3): 3, ended(-signal.SIGKILL): -signal.SIGKILL}
    listener = Listener()
    forks = {next(iter(children)): 7}

    assert spawner._reap(listener, 0, forks) is None

    assert {news["exit"]: news["code"] for news in listener.told} == children
    assert [news.get("id") for news in listener.told if news["code"] == 3] == [7]
    assert listener.zombies == [True, True]
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_the_engine_s_own_end_is_its_code() -> None:
    assert spawner._reap(Listener(), ended(5), {}) == 5


def test_a_fork_that_fails_is_one_request_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            starter = ProcessStarter(there)
            asked = asyncio.create_task(starter.sandbox({}))
            await asyncio.sleep(0)
            assert spawner._take_request(here, {})
            with pytest.raises(ClusterError, match="no process can be forked for it: Resource"):
                await asked
            asyncio.get_running_loop().remove_reader(there)

    def no_fork() -> int:
        raise BlockingIOError(11, os.strerror(11))

    monkeypatch.setattr(os, "fork", no_fork)
    asyncio.run(check())


def test_more_requests_than_the_socket_takes_are_refused() -> None:
    async def check() -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            starter = ProcessStarter(there)
            asked = [asyncio.create_task(starter.sandbox({"x": "x" * 9000})) for _ in range(100)]
            refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for task in asked:
                task.cancel()
            asyncio.get_running_loop().remove_reader(there)
            with pytest.raises(ClusterError, match=r"process 1 is \d+ requests behind"):
                refused.pop().result()

    asyncio.run(check())
