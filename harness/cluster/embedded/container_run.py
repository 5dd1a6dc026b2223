"""One start of a container: its process, its log, and what is to be said once it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded import container_spec
from harness.cluster.embedded.logs import ContainerLog
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cluster.embedded.processes import Process, ProcessStarter
    from harness.cluster.embedded.store import Obj

__all__ = ["ContainerRun", "MountNamespace", "make_message_file"]

_EXEC_OUTPUT_BYTES = 10 << 10
_LOG_END_S = 1.0
_MESSAGE_BYTES = 4096
_MESSAGE_LINES = 80
"""Of a termination message, and of the log that stands in for one; as in Kubernetes."""


class MountNamespace:
    """
    The mount namespace of a process, kept open until `close`.

    Kept open because the kernel gives the number of one that is gone to the next: who compares
    numbers only may take a container that starts for one that ended.

    inode: its number; 0 when there was no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1
        self.inode = os.fstat(self._descriptor).st_ino if self._descriptor >= 0 else 0

    def holds(self, pid: int) -> bool:
        """Whether the process is in it."""
        try:
            return os.stat(f"/proc/{pid}/ns/mnt").st_ino == self.inode
        except OSError:
            return False

    def kill(self, pid: int) -> None:
        """End this process if it is in the namespace; never one that got its pid since."""
        try:
            held = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.holds(pid):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(held, signal.SIGKILL)
        finally:
            os.close(held)

    def close(self) -> None:
        """Let go of it; nothing is in it from then on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self.inode = -1, 0


@dataclass(slots=True)
class ContainerRun:
    """
    One start of a container, from then on.

    spec: what the container was to be then.
    request: what the spawner was given.
    identity: 64 hexadecimal digits, unique for each start.
    namespace: what tells this container's processes from others; closed by `kill_orphans`.
    """

    spec: Obj
    process: Process
    log: ContainerLog
    request: dict[str, Any]
    identity: str
    namespace: MountNamespace
    started_at: str = field(default_factory=timestamp)

    async def exec(self, starter: ProcessStarter, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in the container; its exit code and the end of its output."""
        log = ContainerLog()
        output = log.pipe()
        request = container_spec.exec_request(self.request, self.process.pid, list(command))
        try:
            process = await starter.exec(request, output)
        finally:
            os.close(output)
        try:
            code = await asyncio.shield(process.ended)
        finally:
            process.kill()
        if code:  # else nobody reads what it said
            await _whole(log)
        return code, process.failed or log.tail(50, _EXEC_OUTPUT_BYTES)

    async def log_whole(self) -> None:
        """Wait, not for long, until all that the container wrote is in its log."""
        await _whole(self.log)

    def kill_orphans(self) -> None:
        """
        End what the container left behind in a pid namespace that it shares.

        With a pid namespace of its own, the kernel did that when the first process ended.
        """
        with contextlib.closing(self.namespace) as namespace:
            # A process that never left the engine's own namespace has left nobody in its own.
            if not self.request["share_pids"] or namespace.holds(os.getpid()):
                return
            for name in os.listdir("/proc"):
                if name.isdigit() and namespace.holds(int(name)):
                    namespace.kill(int(name))

    def last_state(self, *, starved: bool) -> dict[str, Any]:
        """The `terminated` state of the run; starved: the kernel killed for its memory."""
        code = self.process.ended.result()
        reason = "Completed" if code == 0 else "Error"
        if self.process.failed:
            reason = "StartError"
        elif starved and code:
            reason = "OOMKilled"
        state = {
            "exitCode": code,
            "reason": reason,
            "startedAt": self.started_at,
            "finishedAt": timestamp(),
            "containerID": f"meshmark://{self.identity}",
        }
        message = self.process.failed or self._message(code)
        return state | ({"message": message} if message else {})

    def _message(self, code: int) -> str:
        """What the container left as its last word, or its log where that stands in for it."""
        with contextlib.suppress(OSError), Path(self.request["message_file"]).open("rb") as file:
            said = file.read(_MESSAGE_BYTES).decode(errors="replace")
            if said:
                return said
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return self.log.tail(_MESSAGE_LINES, _MESSAGE_BYTES // 2)
        return ""


async def _whole(log: ContainerLog) -> None:
    # Its end is read later than the exit is told of; a process left behind may keep it open.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOG_END_S):
            await log.whole.wait()


def make_message_file(path: str) -> None:
    """Make the empty file in which a container may leave its last word, whoever it runs as."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    file.chmod(0o666)
