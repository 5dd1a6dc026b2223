"""`meshmark doctor`: what this system lacks, with the command that brings it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import click

from harness.cli.requirements import Finding, Machine, System, examine
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command", "lines", "packages_to_install"]


@click.command("doctor")
@click.option("--fix", is_flag=True, help="As root, install what is missing with apt-get.")
@click.option("--quiet", is_flag=True, help="Say only what is missing.")
def command(fix: bool, quiet: bool) -> None:
    """
    Say what this system lacks to run meshmark.

    Tries what the kernel must do in namespaces of their own. Ends with 70 when something is missing
    that nothing runs without.
    """
    machine = System()
    findings = examine(machine)
    packages = packages_to_install(findings)
    if fix and packages:
        _install(machine, packages)
        findings = examine(machine)
    for line in lines(findings, quiet=quiet):
        click.echo(line)
    missing = [finding.name for finding in findings if finding.needed and not finding.met]
    if missing:
        raise EnvironmentLacks(f"this system lacks: {', '.join(missing)}")


def lines(findings: Sequence[Finding], *, quiet: bool) -> list[str]:
    """One line per finding with its mark, and how to mend what is missing."""
    told = []
    for finding in findings:
        if finding.met:
            told += [] if quiet else [f"✓ {finding.name}  {finding.detail}".rstrip()]
        elif finding.needed or not quiet:
            mark = "✗" if finding.needed else "·"
            told.append(f"{mark} {finding.name}: {finding.detail}".rstrip(": "))
            told.append(f"    {finding.remedy}")
    return told


def packages_to_install(findings: Sequence[Finding]) -> list[str]:
    """The Debian packages that bring what is missing and needed."""
    return [one.package for one in findings if one.package and one.needed and not one.met]


def _install(machine: Machine, packages: Sequence[str]) -> None:
    if not machine.is_root():
        asked = " ".join(packages)
        raise EnvironmentLacks(f"--fix needs root; run: sudo apt-get install -y {asked}")
    if not machine.finds("apt-get"):
        asked = " ".join(packages)
        raise EnvironmentLacks(f"there is no apt-get here; install what brings {asked}")
    click.echo(f"installing {' '.join(packages)}")
    for arguments in (["update", "-q"], ["install", "-y", "-q", *packages]):
        done = subprocess.run(["apt-get", *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
            raise EnvironmentLacks(f"apt-get {' '.join(arguments)} failed:\n{tail}")
