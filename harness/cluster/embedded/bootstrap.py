"""
From an ordinary process to process 1 of a cluster.

`python -m harness.cluster.embedded.bootstrap CONFIG` is started by `launch`. It opens the API's
listener, the only thing outside the cluster, and forks process 1 into a new pid namespace, which
goes on into mount, network, IPC and host name namespaces of its own. The outer process then only
waits: it is what others know by pid and can signal. Process 1 forks the engine before it becomes
the spawner, so that the spawner stays small.

Nothing is left to clean up whichever process is killed: namespaces, links, rules and mounts are
held by processes inside the pid namespace alone, and those end with process 1. It in turn ends when
the outer process does: a pipe tells it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from harness.cluster.embedded import spawner, syscalls
from harness.cluster.embedded.cgroups import group_name, remove_groups
from harness.cluster.embedded.netlink import Netlink
from harness.cluster.embedded.rootfs import STAGE

__all__ = ["API_ADDRESS", "API_PORT", "NODE_ADDRESS", "SERVICE_NETWORK", "main"]

NODE_ADDRESS = "10.244.0.1"
"""The node's address inside the cluster's network: probes and webhook calls come from it."""
SERVICE_NETWORK = "10.96.0.0/16"
API_ADDRESS = NODE_ADDRESS
API_PORT = 6443
"""Where the API server listens inside; pods reach it as kubernetes.default, 10.96.0.1:443."""

_SPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
)
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    # A pod cannot speak in another's name: its wire only takes packets from its own address.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}


def main(arguments: list[str]) -> int:
    """
    Run a cluster until it ends; returns the exit status.

    arguments: one JSON object with `name`, `port` (0: any free one), `ready_fd` (one JSON line is
        written to it: `{"pid", …}` or `{"failed"}`), `lifeline_fd` (a pipe whose end ends the
        cluster; -1: none), `detach` (go on as a process that nobody waits for), `follow_parent`
        (end with the thread that started this process).
    """
    config: dict[str, Any] = json.loads(arguments[0])
    if config["detach"] and os.fork():
        return 0
    config["pid"] = os.getpid()
    for name in ("ready_fd", "lifeline_fd"):
        if config[name] >= 0:
            os.set_inheritable(config[name], False)  # no container may inherit them
    if config["follow_parent"]:
        syscalls.die_with_parent()
    try:
        listener = _listen(config["port"])
    except OSError as error:
        where = f"127.0.0.1:{config['port']}"
        advice = "take another port, or none to get a free one"
        return _refuse(config, f"cannot listen on {where}: {error.strerror}; {advice}")
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)  # of the children; this process stays outside
    except OSError as error:
        return _refuse(config, f"this machine does not allow new namespaces: {error}")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    first = os.fork()
    if first == 0:
        os.close(writing)
        _be_process_1(config, listener, reading)
    listener.close()
    os.close(reading)
    for name in ("ready_fd", "lifeline_fd"):
        if config[name] >= 0:
            os.close(config[name])
    signal.signal(signal.SIGTERM, lambda *_: _kill(first))
    _, status = os.waitpid(first, 0)
    # That pid is free from here on, and the groups are still to be removed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(writing)
    remove_groups(group_name(config["pid"]))
    return 0 if status in (0, signal.SIGKILL) else 1


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


def _refuse(config: dict[str, Any], why: str) -> int:
    os.write(config["ready_fd"], json.dumps({"failed": why}).encode() + b"\n")
    return 1


def _be_process_1(config: dict[str, Any], listener: socket.socket, outer: int) -> NoReturn:
    status = 1
    try:
        syscalls.set_process_name("meshmark-node")
        syscalls.unshare(_SPACES)
        _prepare_mounts()
        _prepare_network(config["name"])
        here, there = spawner.control_pair()
        engine = os.fork()
        if engine == 0:
            here.close()
            _run_engine(config, listener, there)
        there.close()
        listener.close()
        os.close(config["ready_fd"])
        lifelines = [outer] + ([config["lifeline_fd"]] if config["lifeline_fd"] >= 0 else [])
        status = spawner.serve(here, engine, lifelines)
        _end_all(config)
    except Exception as error:
        sys.stderr.write(f"meshmark: process 1 of cluster {config['name']} failed: {error}\n")
        with contextlib.suppress(OSError):  # nobody listens any more once the cluster was up
            _refuse(config, f"process 1 failed: {error}")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end_all(config: dict[str, Any]) -> None:
    """End every other process of the cluster, and remove what would outlive this one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.wait():
            pass
    remove_groups(group_name(config["pid"]))


def _prepare_mounts() -> None:
    # Private: nothing mounted here may be seen outside, nor the reverse.
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", "/proc", "proc", flags)
    syscalls.mount("tmpfs", STAGE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0755")
    for name in ("root", "skeleton", "pods"):
        Path(STAGE, name).mkdir(mode=0o755)


def _prepare_network(name: str) -> None:
    socket.sethostname(f"meshmark-{name}"[:64])
    for path, value in _SYSCTLS.items():
        sysctl = Path("/proc/sys", path)
        if sysctl.exists():  # no IPv6 in the kernel: nothing to turn off
            sysctl.write_text(value)
    with Netlink() as netlink:
        loopback = socket.if_nametoindex("lo")
        netlink.set_up(loopback)
        netlink.add_address(loopback, NODE_ADDRESS)
        # Service addresses need some route for a packet to reach the rules that rewrite it.
        network, _, prefix = SERVICE_NETWORK.partition("/")
        netlink.add_route(network, int(prefix), loopback, source=NODE_ADDRESS)


def _run_engine(config: dict[str, Any], listener: socket.socket, control: socket.socket) -> None:
    status = 1
    try:
        # Imported here, in the engine alone: the spawner must stay small.
        from harness.cluster.embedded import engine  # noqa: PLC0415

        status = engine.run(config, listener, control)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        _refuse(config, f"the engine failed: {error}")
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
