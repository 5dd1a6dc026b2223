"""
Process 1 of the cluster: forks pods, reaps everything, and ends it all.

It stays small, so that a fork of it is a pod in milliseconds: it imports nothing but what these
forks need. The engine (API server, controllers, node agent) is its first child, and talks to it
over a socket of whole messages: a request is one JSON object, at most one descriptor with it. Each
fork answers on the same socket by itself. When the engine ends, so does process 1, and with it,
by the kernel's hand, every process of the cluster.

Messages to the engine: `{"id", "pid"}`, `{"id", "failed"}`, `{"exit": pid, "code"}` (negative: the
signal that ended it), the last with the `id` of the request where the fork for a request itself has
ended. A container that fails before exec sends `failed` after `pid`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.container import run_container, run_exec
from harness.cluster.embedded.sandbox import run_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_MESSAGE_BYTES", "control_pair", "serve"]

MAX_MESSAGE_BYTES = 1 << 20
"""A request carries a container's environment and mounts; exec itself takes 2 MiB at most."""


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Make the socket pair between spawner and engine, wide enough for the largest message."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    so_sndbufforce = 32  # the system's limit for SO_SNDBUF does not bind a privileged process
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, so_sndbufforce, 4 * MAX_MESSAGE_BYTES)
    return pair


def serve(control: socket.socket, engine: int, lifelines: list[int]) -> int:
    """
    Serve until the engine or a lifeline ends; returns the exit status.

    engine: pid of the engine, a child of this process.
    lifelines: read ends of pipes; the end of any of them ends the cluster.
    """
    forks: dict[int, int] = {}
    with _child_signals() as signals:
        poll = select.poll()
        for descriptor in (control.fileno(), signals, *lifelines):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor in lifelines:
                    return 0
                if descriptor == control.fileno():
                    if not _take_request(control, forks):
                        poll.unregister(control)
                    continue
                os.read(signals, 512)
                code = _reap(control, engine, forks)
                if code is not None:
                    _say(f"the engine (API server, controllers, node agent) {_ended(code)}")
                    return 1


@contextlib.contextmanager
def _child_signals() -> Iterator[int]:
    """Make SIGCHLD readable."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reading)
        os.close(writing)


def _take_request(control: socket.socket, forks: dict[int, int]) -> bool:
    """Fork what is asked for, and note whose fork it is; False when the engine has closed."""
    try:
        message, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 1)
    except ConnectionResetError:  # the engine is gone: its end is read from SIGCHLD
        return False
    try:
        if message:
            _fork(control, json.loads(message), descriptors, forks)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return bool(message)


def _fork(
    control: socket.socket, request: dict[str, Any], descriptors: list[int], forks: dict[int, int]
) -> None:
    try:
        child = os.fork()
    except OSError as error:  # out of processes or memory: one pod's failure, not the cluster's
        why = f"no process can be forked for it: {error.strerror}"
        control.send(json.dumps({"id": request["id"], "failed": why}).encode())
        return
    if child == 0:
        _become(control, request, descriptors)
    forks[child] = request["id"]


def _become(control: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
    """Be the process that `request` asks for; never returns."""
    number = request["id"]

    def report(news: dict[str, Any]) -> None:
        control.send(json.dumps({"id": number, **news}).encode())

    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if request["op"] == "sandbox":
            run_sandbox(request, report)
        elif request["op"] == "container":
            run_container(request, descriptors[0], report)
        else:
            run_exec(request, descriptors[0], report)
    except Exception as error:
        report({"failed": str(error)})
    finally:
        os._exit(1)


def _reap(control: socket.socket, engine: int, forks: dict[int, int]) -> int | None:
    """Report all that ended; the engine's exit code if it was among them."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if ended is None:
            return None
        pid = ended.si_pid
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        if pid == engine:
            return code
        news = {"exit": pid, "code": code}
        if pid in forks:
            news["id"] = forks.pop(pid)
        with contextlib.suppress(OSError):  # the engine is ending: it is reaped next
            control.send(json.dumps(news).encode())
        # Last: until it is reaped nobody else gets its pid, so no fork can tell of that pid
        # before the engine has heard that it ended.
        os.waitpid(pid, 0)


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _say(text: str) -> None:
    sys.stderr.write(f"meshmark: {text}; the cluster ends with it\n")
    sys.stderr.flush()
