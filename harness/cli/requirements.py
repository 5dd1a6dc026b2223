"""
What meshmark needs of the system beneath it, and how to find out.

Programs are asked for their version. What the kernel must be able to do is tried for real, in
namespaces that end with the attempt: configuration files say too little about containers and
virtual machines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness import toolchain
from harness.cluster.kind import tools
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["KUBECTL", "Finding", "Machine", "System", "building", "examine", "program"]

KUBECTL = (1, 30)
"""The oldest kubectl for the embedded cluster."""

_NAT_RULES = """
table ip tried {
    chain out {
        type nat hook output priority -100
        tcp dport 1 redirect to :2
    }
}
"""
_CHECKERS = (("fmt", "rustfmt"), ("clippy", "clippy"))
"""Parts of the Rust toolchain by their subcommand of cargo."""

_VETH = (
    "from pyroute2 import IPRoute\n"
    "with IPRoute() as links:\n"
    "    links.link('add', ifname='mm0', kind='veth', peer={'ifname': 'mm1'})\n"
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    One requirement and whether it is met.

    needed: without it nothing runs; otherwise it is worth knowing and no more.
    package: the Debian package that brings it. remedy: advice for the reader where no package does.
    """

    name: str
    met: bool
    detail: str = ""
    needed: bool = True
    package: str = ""
    remedy: str = ""


class Machine(Protocol):
    """What an examination asks of the machine; tests give one of their own."""

    def is_root(self) -> bool:
        """Whether this process may do everything."""

    def finds(self, program: str) -> bool:
        """Whether the program is installed."""

    def rust(self) -> str:
        """
        What the Rust toolchain says of its version, asked as the user whose build it will be.

        Raises:
            EnvironmentLacks: there is none that works, or it is too old.

        """

    def cargo(self, subcommand: str) -> str:
        """
        What `cargo SUBCOMMAND` says of its version, asked as the user whose build it will be.

        Raises:
            EnvironmentLacks: it is missing, or there is no cargo.

        """

    def kubectl(self) -> str:
        """
        Where the kubectl is that would be used.

        Raises:
            EnvironmentLacks: there is none, or it is too old.

        """

    def run(
        self, command: Sequence[str], text: str = "", *, limit_s: float = 20.0
    ) -> tuple[int, str]:
        """Exit code and combined output of a program that gets `text` as its input."""


class System:
    """The machine that this process runs on."""

    def is_root(self) -> bool:
        """Whether the effective user is root."""
        return os.geteuid() == 0

    def finds(self, program: str) -> bool:
        """Whether the program is on PATH or where Debian keeps what only root needs."""
        return shutil.which(program, path=_search_path()) is not None

    def rust(self) -> str:
        """Where the cargo is that would be used; with sudo it is the invoking user's."""
        return str(toolchain.find_cargo(toolchain.invoking_person()))

    def cargo(self, subcommand: str) -> str:
        """What a part of the toolchain says of its version; with sudo it is the user's."""
        return toolchain.subcommand_version(subcommand, toolchain.invoking_person())

    def kubectl(self) -> str:
        """Where it is: on the path, or the one that `doctor --cluster kind --fix` built."""
        return tools.find("kubectl", KUBECTL)

    def run(
        self, command: Sequence[str], text: str = "", *, limit_s: float = 20.0
    ) -> tuple[int, str]:
        """Run it, for at most `limit_s`; it asks no questions."""
        environment = os.environ | {
            "PATH": _search_path(),
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
        }
        try:
            done = subprocess.run(
                list(command),
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=limit_s,
                check=False,
                env=environment,
            )
        except OSError as error:
            return 127, str(error)
        except subprocess.TimeoutExpired:
            return 124, f"no answer within {limit_s:g} s"
        return done.returncode, done.stdout


def examine(machine: Machine, *, tests: bool = False) -> list[Finding]:
    """
    Every requirement, in the order in which a reader should mend them.

    tests: what `make test` alone uses is needed too.
    """
    findings = [
        _root(machine),
        *building(machine, tests=tests),
        program(machine, "mmdebstrap", "mmdebstrap, for images", "mmdebstrap", needed=False),
        program(machine, "nft", "nftables", "nftables"),
        program(machine, "iptables", "iptables", "iptables"),
        program(machine, "ip", "iproute2", "iproute2", version="-V"),
        _kubectl(machine),
    ]
    return findings + _kernel(machine)


def building(machine: Machine, *, tests: bool = False) -> list[Finding]:
    """What builds the programs of this project, whichever cluster they run in."""
    return [
        program(machine, "cc", "C compiler", "build-essential"),
        program(machine, "make", "make", "make"),
        _rust(machine),
        *(_cargo(machine, subcommand, title, needed=tests) for subcommand, title in _CHECKERS),
        program(machine, "git", "git", "git", needed=False),
    ]


def program(
    machine: Machine,
    name: str,
    title: str,
    package: str,
    *,
    needed: bool = True,
    version: str = "--version",
) -> Finding:
    """Whether a program is installed, by what it says when asked for its version."""
    met = machine.finds(name)
    detail = _first_line(machine.run([name, version])[1]) if met else "not found"
    return Finding(name=title, met=met, detail=detail, needed=needed, package=package)


def _root(machine: Machine) -> Finding:
    return Finding(
        name="root",
        met=machine.is_root(),
        needed=False,
        detail="" if machine.is_root() else "the embedded cluster makes namespaces and needs it",
        remedy="run `sudo make conformance`; or, where you may use Docker, `make conformance-kind` "
        "(`--cluster kind`); `meshmark run` takes one of yours too: `--cluster context:NAME`",
    )


def _rust(machine: Machine) -> Finding:
    wanted = ".".join(map(str, toolchain.MINIMUM_RUST))
    name = f"Rust {wanted} or newer"
    try:
        return Finding(name=name, met=True, detail=machine.rust())
    except EnvironmentLacks as error:
        return Finding(name=name, met=False, remedy=str(error))


def _cargo(machine: Machine, subcommand: str, title: str, *, needed: bool) -> Finding:
    """Nothing is built with it; the tests of the Rust code ask it for its opinion."""
    name = f"{title}, for `make test` (its environment `rust`)"
    try:
        return Finding(name=name, met=True, detail=machine.cargo(subcommand), needed=needed)
    except EnvironmentLacks as error:
        return Finding(name=name, met=False, remedy=str(error), needed=needed)


def _kubectl(machine: Machine) -> Finding:
    """For people and for tests; no suite needs it."""
    name = "kubectl, to look around and for `make test`"
    try:
        return Finding(name=name, met=True, detail=machine.kubectl(), needed=False)
    except EnvironmentLacks as error:
        remedy = f"{error}. Debian 12's package, kubernetes-client, is 1.20: too old"
        return Finding(name=name, met=False, needed=False, remedy=remedy)


def _kernel(machine: Machine) -> list[Finding]:
    """What the embedded cluster does with the kernel; root only, elsewhere it cannot be tried."""
    attempts: list[tuple[str, Callable[[], tuple[int, str]]]] = [
        ("network namespaces", lambda: machine.run(["unshare", "--net", "true"])),
        ("mount namespaces", lambda: machine.run(["unshare", "--mount", "true"])),
        ("pid namespaces", lambda: machine.run(["unshare", "--pid", "--fork", "true"])),
        (
            "links between namespaces (veth)",
            lambda: machine.run(["unshare", "--net", sys.executable, "-c", _VETH]),
        ),
    ]
    if machine.finds("nft"):
        rules = ["unshare", "--net", "nft", "-f", "-"]
        attempts.append(
            ("address translation (nftables nat)", lambda: machine.run(rules, _NAT_RULES))
        )
    if not machine.is_root():
        return []
    findings = []
    for name, attempt in attempts:
        code, told = attempt()
        findings.append(
            Finding(
                name=name,
                met=code == 0,
                detail="" if code == 0 else _first_line(told) or f"exit code {code}",
                remedy="needs CAP_SYS_ADMIN and CAP_NET_ADMIN and a kernel that has it; "
                "in a container: run it with --privileged",
            )
        )
    return findings


def _first_line(told: str) -> str:
    lines = told.strip().splitlines()
    return lines[0] if lines else ""


def _search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
