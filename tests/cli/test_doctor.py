"""What `meshmark doctor` says of machines that lack something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.doctor import lines, packages_to_install
from harness.cli.requirements import System, examine

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeMachine:
    """A machine with all that is needed, but for what a test takes away."""

    def __init__(
        self, *, root: bool = True, lacks: Sequence[str] = (), rust: str = "1.95.0"
    ) -> None:
        self.root, self.lacks, self.rust = root, lacks, rust
        self.tried: list[str] = []

    def is_root(self) -> bool:
        return self.root

    def finds(self, program: str) -> bool:
        return program not in self.lacks

    def run(self, command: Sequence[str], text: str = "") -> tuple[int, str]:
        self.tried.append(" ".join(command[:3]))
        if command[0] in self.lacks:
            return 127, "not found"
        if command[0] == "cargo":
            return 0, f"cargo {self.rust} (abc 2026-01-01)"
        if "nft" in command and "nat" in self.lacks:
            return 1, "Error: Could not process rule: Operation not supported"
        return 0, f"{command[0]} 1.0\n"


def test_a_complete_machine_lacks_nothing() -> None:
    findings = examine(FakeMachine())
    assert lines(findings, quiet=True) == []
    assert all(line.startswith("✓") for line in lines(findings, quiet=False))


def test_a_missing_program_is_named_with_the_command_that_brings_it() -> None:
    findings = examine(FakeMachine(lacks=["nft", "cc"]))
    assert packages_to_install(findings) == ["build-essential", "nftables"]
    told = lines(findings, quiet=True)
    assert told[:2] == ["✗ C compiler: not found", "    apt-get install -y build-essential"]


def test_rust_must_be_new_enough() -> None:
    told = lines(examine(FakeMachine(rust="1.63.0")), quiet=True)
    assert told[0] == "✗ Rust 1.90 or newer: cargo 1.63.0 (abc 2026-01-01)"


def test_what_the_kernel_cannot_do_is_told_in_its_words() -> None:
    told = lines(examine(FakeMachine(lacks=["nat"])), quiet=True)
    assert "Operation not supported" in told[0]
    assert "--privileged" in told[1]


def test_without_root_nothing_of_the_kernel_is_tried_and_the_ways_out_are_named() -> None:
    machine = FakeMachine(root=False)
    told = lines(examine(machine), quiet=False)
    assert not [command for command in machine.tried if "unshare" in command]
    assert told[1].strip().startswith("sudo -E meshmark run conformance; or --cluster kind")


def test_this_machine_can_be_asked() -> None:
    assert System().run(["true"]) == (0, "")
    assert System().run(["no-such-program"])[0] == 127
    assert System().run(["cat"], "text") == (0, "text")
