"""What `meshmark doctor` says of machines that lack something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.doctor import lines, packages_to_install
from harness.cli.requirements import System, examine
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeMachine:
    """A machine with all that is needed, but for what a test takes away."""

    def __init__(self, *, root: bool = True, lacks: Sequence[str] = (), rust: bool = True) -> None:
        self.root, self.lacks, self.rust_works = root, lacks, rust
        self.tried: list[str] = []

    def is_root(self) -> bool:
        return self.root

    def finds(self, program: str) -> bool:
        return program not in self.lacks

    def rust(self) -> str:
        if self.rust_works:
            return "/usr/bin/cargo"
        raise EnvironmentLacks("Rust 1.90 or newer is needed: /usr/bin/cargo is 1.63; install it")

    def cargo(self, subcommand: str) -> str:
        if f"cargo {subcommand}" not in self.lacks:
            return f"{subcommand} 1.90.0"
        raise EnvironmentLacks(f"no {subcommand}: run `rustup component add rustfmt clippy`")

    def kubectl(self) -> str:
        if "kubectl" not in self.lacks:
            return "/usr/bin/kubectl"
        raise EnvironmentLacks("kubectl 1.30 or newer is needed: none was found; `meshmark` ...")

    def run(
        self, command: Sequence[str], text: str = "", *, limit_s: float = 20.0
    ) -> tuple[int, str]:
        self.tried.append(" ".join(command[:3]))
        if command[0] in self.lacks:
            return 127, "not found"
        if "nft" in command and "nat" in self.lacks:
            return 1, "Error: Could not process rule: Operation not supported"
        return 0, f"{command[0]} 1.0\n"


def test_a_complete_machine_lacks_nothing() -> None:
    findings = examine(FakeMachine())
    assert lines(findings, quiet=True, root=True) == []
    assert all(line.startswith("✓") for line in lines(findings, quiet=False, root=True))


def test_a_missing_program_is_named_with_the_command_that_brings_it() -> None:
    findings = examine(FakeMachine(lacks=["nft", "cc"]))
    assert packages_to_install(findings) == ["build-essential", "nftables"]
    assert lines(findings, quiet=True, root=False)[-3:] == [
        "✗ nftables: not found",
        "Install what is missing with:",
        "    sudo apt-get install -y build-essential nftables",
    ]


def test_rust_must_be_new_enough() -> None:
    told = lines(examine(FakeMachine(rust=False)), quiet=True, root=True)
    assert told[0] == "✗ Rust 1.90 or newer"
    assert "/usr/bin/cargo is 1.63; install it" in told[1]


def test_what_only_the_tests_use_is_needed_only_for_them() -> None:
    machine = FakeMachine(lacks=["cargo clippy"])
    assert lines(examine(machine), quiet=True, root=True) == []
    told = lines(examine(machine), quiet=False, root=True)
    assert "· clippy, for `make test` (its environment `rust`)" in told
    assert lines(examine(machine, tests=True), quiet=True, root=True) == [
        "✗ clippy, for `make test` (its environment `rust`)",
        "    no clippy: run `rustup component add rustfmt clippy`",
    ]


def test_a_missing_kubectl_is_worth_knowing_and_no_more() -> None:
    findings = examine(FakeMachine(lacks=["kubectl"]))
    assert lines(findings, quiet=True, root=True) == []
    told = "\n".join(lines(findings, quiet=False, root=True))
    assert "· kubectl, to look around and for `make test`\n    kubectl 1.30 or newer" in told
    assert packages_to_install(findings) == []


def test_what_the_kernel_cannot_do_is_told_in_its_words() -> None:
    told = lines(examine(FakeMachine(lacks=["nat"])), quiet=True, root=True)
    assert "Operation not supported" in told[0]
    assert "--privileged" in told[1]


def test_without_root_nothing_of_the_kernel_is_tried_and_the_ways_out_are_named() -> None:
    machine = FakeMachine(root=False)
    told = lines(examine(machine), quiet=False, root=True)
    assert not [command for command in machine.tried if "unshare" in command]
    for way in ("run `sudo make conformance`", "`make conformance-kind`", "`--cluster kind`"):
        assert way in told[1]


def test_this_machine_can_be_asked() -> None:
    assert System().run(["true"]) == (0, "")
    assert System().run(["no-such-program"])[0] == 127
    assert System().run(["cat"], "text") == (0, "text")
