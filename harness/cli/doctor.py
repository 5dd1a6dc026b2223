"""`meshmark doctor`: what this system lacks, with the command that brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli import kind_requirements
from harness.cli.requirements import Finding, Machine, System, examine
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command", "lines", "packages_to_install"]

_APT_S = 900.0
"""A compiler on a slow connection."""


@click.command("doctor")
@click.option(
    "--cluster",
    type=click.Choice(["embedded", "kind"]),
    default="embedded",
    show_default=True,
    help="Which engine it should run.",
)
@click.option(
    "--fix",
    is_flag=True,
    help="Install what is missing; as root, with apt-get. For kind also: add Debian's backports to "
    "apt's sources where Go is needed and Debian's own is too old, start Docker where no init "
    "system does, raise fs.inotify.max_user_instances until the machine restarts, and build kind "
    "and kubectl.",
)
@click.option("--tests", is_flag=True, help="Also ask for what `make test` alone uses.")
@click.option("--quiet", is_flag=True, help="Say only what is missing.")
def command(cluster: str, *, fix: bool, tests: bool, quiet: bool) -> None:
    """
    Say what this system lacks to run meshmark.

    Tries what the kernel must do in namespaces of their own. Ends with 70 when something is missing
    that nothing runs without.
    """
    machine = System()
    findings = _examine(cluster, machine, tests=tests)
    if fix:
        findings = _fixed(cluster, machine, findings, tests=tests)
        if cluster == "kind" and packages_to_install(findings):
            # Only a Docker that runs could say that a node image is to be built, which takes Go.
            findings = _fixed(cluster, machine, findings, tests=tests)
    for line in lines(findings, quiet=quiet, root=machine.is_root()):
        click.echo(line)
    missing = [finding.name for finding in findings if finding.needed and not finding.met]
    if missing:
        raise EnvironmentLacks(f"this system lacks: {', '.join(missing)}")


def lines(findings: Sequence[Finding], *, quiet: bool, root: bool) -> list[str]:
    """One line per finding with its mark, and how to mend what is missing: packages all at once."""
    told = []
    for finding in findings:
        if finding.met:
            told += [] if quiet else [f"✓ {finding.name}  {finding.detail}".rstrip()]
        elif finding.needed or not quiet:
            mark = "✗" if finding.needed else "·"
            told.append(f"{mark} {finding.name}: {finding.detail}".rstrip(": "))
            told += [f"    {finding.remedy}"] if finding.remedy else []
    if packages := packages_to_install(findings):
        told += ["Install what is missing with:", f"    {_apt_get(packages, root=root)}"]
    return told


def packages_to_install(findings: Sequence[Finding]) -> list[str]:
    """The Debian packages that bring what is missing and needed."""
    wanted = [one.package for one in findings if one.package and one.needed and not one.met]
    return list(dict.fromkeys(wanted))


def _fixed(
    cluster: str, machine: Machine, findings: Sequence[Finding], *, tests: bool
) -> list[Finding]:
    """Install what is missing, and look again."""
    if cluster == "kind":
        kind_requirements.prepare(machine, kind_requirements.Parts(), findings, click.echo)
    if packages := packages_to_install(findings):
        _install(machine, packages)
    if cluster == "kind":
        kind_requirements.mend(machine, kind_requirements.Parts(), click.echo)
    return _examine(cluster, machine, tests=tests)


def _examine(cluster: str, machine: Machine, *, tests: bool) -> list[Finding]:
    if cluster == "kind":
        return kind_requirements.examine(machine, kind_requirements.Parts(), tests=tests)
    return examine(machine, tests=tests)


def _apt_get(packages: Sequence[str], *, root: bool) -> str:
    return f"{'' if root else 'sudo '}apt-get install -y {' '.join(packages)}"


def _install(machine: Machine, packages: Sequence[str]) -> None:
    asked = " ".join(packages)
    if not machine.finds("apt-get"):
        raise EnvironmentLacks(f"there is no apt-get here; install what brings {asked}")
    if not machine.is_root():
        raise EnvironmentLacks(
            f"this system lacks {asked}, and only root can install them; run: "
            f"{_apt_get(packages, root=False)}"
        )
    click.echo(f"installing {asked}")
    for arguments in (["update", "-q"], ["install", "-y", "-q", *packages]):
        code, told = machine.run(["apt-get", *arguments], limit_s=_APT_S)
        if code:
            tail = "\n".join(told.splitlines()[-8:])
            raise EnvironmentLacks(f"apt-get {' '.join(arguments)} failed:\n{tail}")
