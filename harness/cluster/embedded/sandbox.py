"""
A pod's sandbox: its network and the process that holds it.

Runs in a child that the spawner forked for the purpose, which then stays as the pod's pause
process: it holds the namespaces, is pid 1 where the pod shares one pid namespace, and reaps.
Because only that process holds the network namespace, killing it takes links and routes with it.

The pod's end of the wire has a /32 address and one gateway that exists on every wire. Hardware
addresses are written down at both ends, so no packet ever waits for ARP.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Any

from harness.cluster.embedded import syscalls
from harness.cluster.embedded.netlink import Netlink

__all__ = ["GATEWAY", "host_link_name", "run_sandbox"]

GATEWAY = "169.254.1.1"
"""Where pods send everything: link-local, so it can never be a pod's or a service's address."""

_LOOPBACK_INDEX = 1


def host_link_name(address: str) -> str:
    """Name of the cluster's end of the wire to the pod with this address; at most 15 bytes."""
    return "pod" + socket.inet_aton(address).hex()


def run_sandbox(request: dict[str, Any], report: Any) -> None:
    """
    Set a sandbox up, call `report` with its pid, and stay in it for ever.

    request: `address`, `hostname`, `sysctls` (name to value), `share_pids`.
    report: takes one dict; called once, with `pid` and `namespace_pid`: the process whose children
        and `/proc/PID/ns/pid_for_children` belong to the pod's shared pid namespace.
    """
    syscalls.set_process_name("sandbox")
    with Netlink() as outside:
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
        _lay_wire(outside, request["address"])
    socket.sethostname(request["hostname"])
    for name, value in request["sysctls"].items():
        Path("/proc/sys", *name.split(".")).write_text(value)
    if not request["share_pids"]:
        report({"pid": os.getpid()})
        _pause()
    syscalls.unshare(syscalls.CLONE_NEWPID)
    child = os.fork()
    if child:
        # The child is adopted by the spawner once this process is gone, and is the sandbox.
        report({"pid": child})
        os._exit(0)
    _pause()


def _lay_wire(outside: Netlink, address: str) -> None:
    name = host_link_name(address)
    tail = socket.inet_aton(address).hex()
    # Locally administered addresses (the 0x02 bit) made from the pod's address: unique here.
    here_mac, there_mac = f"02:01{_pairs(tail)}", f"02:02{_pairs(tail)}"
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as inside:
            outside.add_veth(name, here_mac, "eth0", there_mac, here)
            _no_ipv6("eth0")
            index = socket.if_nametoindex("eth0")
            inside.set_up(_LOOPBACK_INDEX)
            inside.set_up(index)
            inside.add_address(index, address)
            inside.add_route(GATEWAY, 32, index)
            inside.add_route("0.0.0.0", 0, index, gateway=GATEWAY)  # noqa: S104 - a route
            inside.add_neighbour(index, GATEWAY, here_mac)
    finally:
        os.close(here)
    outer_index = outside.index_of(name)
    outside.set_up(outer_index)
    outside.add_route(address, 32, outer_index)
    outside.add_neighbour(outer_index, address, there_mac)


def _no_ipv6(link: str) -> None:
    # A link-local IPv6 address would send neighbour discovery over every wire for nothing. The
    # file is missing where the kernel has no IPv6 at all.
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("1")


def _pairs(tail: str) -> str:
    return "".join(":" + tail[at : at + 2] for at in range(0, 8, 2))


def _pause() -> None:
    """Reap what was orphaned into this pid namespace, until killed."""
    syscalls.set_process_name("pause")
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD})
    with contextlib.suppress(OSError):
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    while True:
        signal.sigwait({signal.SIGCHLD})
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
