"""
Processes of pods, as the engine holds them: asked of the spawner, reaped by it.

The spawner answers and reports ends over one socket of whole messages. A pid stays valid until its
end was heard of, because nobody but the spawner reaps, and it reports first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.spawner import MAX_MESSAGE_BYTES
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Process", "ProcessStarter"]


class Process:
    """One process that the spawner started; `ended` resolves to its exit code."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.failed = ""
        """Why exec was not reached; empty when it was, or is still to come."""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def running(self) -> bool:
        """Whether its end was not reported yet."""
        return not self.ended.done()

    def send(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, and with the first process of a pid namespace all that are in it."""
        self.send(signal.SIGKILL)


class ProcessStarter:
    """The engine's end of the spawner's socket. Belongs to one event loop."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._control.setblocking(False)
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Process]] = {}
        self._by_number: dict[int, Process] = {}
        self._by_pid: dict[int, Process] = {}
        asyncio.get_running_loop().add_reader(control, self._take_news)

    async def sandbox(self, request: Mapping[str, Any]) -> Process:
        """Start a pod's sandbox; see `sandbox.run_sandbox`. Raises ClusterError."""
        return await self._start("sandbox", request)

    async def container(self, request: Mapping[str, Any], output: int) -> Process:
        """Start a container that writes to `output`; see `container.run_container`."""
        return await self._start("container", request, output)

    async def exec(self, request: Mapping[str, Any], output: int) -> Process:
        """Start a command inside a container; see `container.run_exec`."""
        return await self._start("exec", request, output)

    async def _start(self, kind: str, request: Mapping[str, Any], *descriptors: int) -> Process:
        number = next(self._numbers)
        message = json.dumps({**request, "op": kind, "id": number}).encode()
        if len(message) > MAX_MESSAGE_BYTES:
            raise ClusterError(
                f"a {kind} of {len(message)} bytes of environment, arguments and mounts is more "
                f"than the {MAX_MESSAGE_BYTES} that a process may start with"
            )
        answer: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send(kind, message, descriptors)
            return await answer
        finally:
            self._asked.pop(number, None)

    def _send(self, kind: str, message: bytes, descriptors: Sequence[int]) -> None:
        try:
            socket.send_fds(self._control, [message], descriptors)
        except BlockingIOError:
            behind = len(self._asked)
            raise ClusterError(
                f"no {kind} can be asked for now: process 1 is {behind} requests behind"
            ) from None

    def _take_news(self) -> None:
        while True:
            try:
                message = self._control.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            if not message:  # process 1 has gone: so has this process, in a moment
                asyncio.get_running_loop().remove_reader(self._control)
                return
            self._handle(json.loads(message))

    def _handle(self, news: dict[str, Any]) -> None:
        if "exit" in news:
            process = self._by_pid.pop(news["exit"], None)
            if process is not None:
                process.ended.set_result(_exit_code(news["code"]))
            unanswered = self._asked.get(news.get("id", 0))
            if unanswered is not None and not unanswered.done():
                code = _exit_code(news["code"])
                why = f"the process for it ended with code {code} before it could start"
                unanswered.set_exception(ClusterError(why))
            return
        number = news["id"]
        answer = self._asked.get(number)
        if "pid" in news:
            process = Process(news["pid"])
            self._by_number[number] = self._by_pid[process.pid] = process
            process.ended.add_done_callback(lambda _: self._by_number.pop(number, None))
            if answer is None or answer.done():  # who asked was cancelled meanwhile
                process.kill()
            else:
                answer.set_result(process)
        elif number in self._by_number:
            self._by_number[number].failed = news["failed"]
        elif answer is not None and not answer.done():
            answer.set_exception(ClusterError(news["failed"]))


def _exit_code(code: int) -> int:
    """As container runtimes report it: 128 and the signal's number for a signal."""
    return 128 - code if code < 0 else code
