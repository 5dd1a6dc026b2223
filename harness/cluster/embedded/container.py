"""
One container process: from a fork of the spawner to exec.

The order is what makes it safe: namespaces first, then the root file system, then privileges, and
exec last. The spawner adopts the process once the intermediate one, which only exists because a
pid namespace takes effect for children, is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
from typing import Any

from harness.cluster.embedded import syscalls
from harness.cluster.embedded.rootfs import build_root

__all__ = ["run_container", "run_exec"]

_NETWORK = ("net", "ipc", "uts")
_OPEN_FILES = 1 << 20
"""What container runtimes give: their default of 1,048,576 open files, where the machine can."""
_CANNOT_START = 128
"""Exit code of a container that never came to run, as container runtimes report it."""


def run_container(request: dict[str, Any], output: int, report: Any) -> None:
    """
    Become a container and never return.

    request: what `rootfs.build_root` and `_drop_privileges` take, and `sandbox` (pid),
        `share_pids`, `command`, `env`, `cwd`, `cgroups` (paths of `cgroup.procs` files).
    output: descriptor for what the container writes.
    report: takes one dict; called with `pid`, and with `failed` when exec was not reached.
    """
    sandbox = f"/proc/{request['sandbox']}/ns"
    for kind in _NETWORK:
        syscalls.setns(f"{sandbox}/{kind}")
    for path in request["cgroups"]:
        _join_cgroup(path)
    if request["share_pids"]:
        syscalls.setns(f"{sandbox}/pid")
    else:
        syscalls.unshare(syscalls.CLONE_NEWPID)
    # Before the fork, so that whoever learns the pid finds it in its own mount namespace.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    _fork_and_report(report)
    try:
        syscalls.set_process_name("container")
        build_root(request)
        _exec(request, output)
    except OSError as error:
        report({"failed": _explain(error, request)})
    os._exit(_CANNOT_START)


def run_exec(request: dict[str, Any], output: int, report: Any) -> None:
    """
    Run a command inside a container that is there, with that container's privileges.

    request: `target` (pid of the container's first process), and what `run_container` takes of
        privileges, `command`, `env` and `cwd`.
    """
    target = f"/proc/{request['target']}/ns"
    for kind in (*_NETWORK, "pid"):
        syscalls.setns(f"{target}/{kind}")
    _fork_and_report(report)
    try:
        syscalls.setns(f"{target}/mnt")
        _exec(request, output)
    except OSError as error:
        report({"failed": _explain(error, request)})
    os._exit(_CANNOT_START)


def _fork_and_report(report: Any) -> None:
    """
    Go on as a child; the parent reports its pid and ends.

    The child waits for that, so that what it reports itself always comes after its pid.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        report({"pid": child})
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)  # ends when the parent does
    os.close(reading)


def _exec(request: dict[str, Any], output: int) -> None:
    os.setsid()
    quiet = os.open("/dev/null", os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Every other descriptor closes on exec; this one came over a socket, which does not mark it.
    os.set_inheritable(output, False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)  # an ignored signal would stay so over exec
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _drop_privileges(request)
    os.chdir(request["cwd"])
    command, env = request["command"], request["env"]
    try:
        os.execvpe(command[0], command, env)  # noqa: S606 - searches the PATH of `env`
    except FileNotFoundError as error:
        text = "no such file in the container, or not in its $PATH"
        raise FileNotFoundError(errno.ENOENT, text) from error


def _drop_privileges(request: dict[str, Any]) -> None:
    """Take `uid`, `gid`, `groups` and `capabilities` (a bit mask), in the one order that works."""
    kept: int = request["capabilities"]
    if not request["privileged"]:
        syscalls.drop_bounding(kept)
    os.setgroups(request["groups"])
    os.setresgid(request["gid"], request["gid"], request["gid"])
    if request["uid"]:
        # Permitted capabilities survive until exec, so that exec under no_new_privs may still
        # give a file its capabilities: they are not new. That is how container runtimes do it.
        syscalls.keep_capabilities()
    os.setresuid(request["uid"], request["uid"], request["uid"])
    syscalls.set_capabilities(kept)
    if request["no_new_privileges"]:
        syscalls.no_new_privileges()


def _join_cgroup(path: str) -> None:
    with contextlib.suppress(OSError):  # a limit that cannot be had was announced by an event
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)


def _explain(error: OSError, request: dict[str, Any]) -> str:
    command = request["command"][0]
    where = f" ({error.filename})" if error.filename else ""
    return f'cannot run "{command}": {error.strerror or error}{where}'
