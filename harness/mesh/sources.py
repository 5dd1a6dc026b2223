"""
The sources of this project as they were at another commit, so that two builds can be run together.

They are laid out once per commit below the folder that cargo builds into, where `make clean`
removes them; nothing is written into the repository. The commit becomes part of the mesh's version,
as a release has one of its own: images and pods of two builds can be told apart by it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentLacks
from harness.toolchain import Person, invoking_person, run_as, target_folder

__all__ = ["CLONE", "Sources", "sources_at"]

CLONE = Path(__file__).resolve().parents[2]
"""The clone that this runs from."""

_NEEDED = ("Cargo.toml", "Cargo.lock", "reference_mesh", "harness/workload")
"""What the mesh is built from and run with; the workload is a member of its Cargo workspace."""

_OF_PROXY = ("Cargo.toml", "Cargo.lock", "reference_mesh/proxy")

_LAST_CHANGE = "last-change"
_CHANGED = tuple(
    f"reference_mesh/{part}" for part in ("proxy/src", "control_plane", "manifests", "cli", "proto")
)
"""What makes two builds of the mesh differ in what they do."""

_DIGITS = 12
_VERSIONS = {
    "reference_mesh/manifests/names.py": re.compile(r'^(VERSION: Final = "[^"]+)"', re.MULTILINE),
    "Cargo.toml": re.compile(r'^(\[workspace\.package\]\nversion = "[^"]+)"', re.MULTILINE),
    "Cargo.lock": re.compile(r'^(name = "[^"]+"\nversion = "[^"]+)"(?!\nsource)', re.MULTILINE),
}
"""
Where the version is, without the quotation mark after it; in the lock file those of the members.

To cargo a package is its name, version and place in its workspace: with one version it would take
what it has compiled of one commit for the other's, as soon as no file is newer.
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """
    root: the folder that holds them. commit: twelve digits of its name.

    same_proxy: the clone's proxy is made of the same sources, so that one build serves both.
    same_mesh: all of the clone's mesh is; there is nothing to upgrade.
    """

    root: Path
    commit: str
    same_proxy: bool
    same_mesh: bool


def sources_at(ref: str, *, clone: Path = CLONE) -> Sources:
    """
    Lay out the sources of a commit, where that has not been done before.

    ref: as git names commits: `HEAD^`, a branch, a tag, a hash. `last-change` is the last commit
        that changed the mesh, and `last-change^` the one before.

    Raises:
        EnvironmentLacks: there is no git, no repository, or no such commit in it; says which.

    """
    person = invoking_person()
    commit = _commit(ref, clone, person)
    folder = target_folder(clone) / "meshmark" / "sources" / commit
    if not folder.is_dir():
        _lay_out(commit, folder, clone, person)

    def same(*paths: str) -> bool:
        return not _git(clone, person, "diff", "--quiet", commit, "--", *paths).returncode

    return Sources(folder, commit, same_proxy=same(*_OF_PROXY), same_mesh=same(*_CHANGED))


def _commit(ref: str, clone: Path, person: Person) -> str:
    named = ref
    if ref.startswith(_LAST_CHANGE):
        last = _git(clone, person, "log", "-1", "--format=%H", "--", *_CHANGED).stdout.strip()
        named = last + ref.removeprefix(_LAST_CHANGE)
    found = _git(clone, person, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.strip()[:_DIGITS]
    shallow = _git(clone, person, "rev-parse", "--is-shallow-repository")
    if shallow.returncode != 0:
        why = f"{clone} is no git repository: {shallow.stderr.strip()}"
    elif shallow.stdout.strip() == "true":
        why = f"{clone} is a shallow clone without {ref}; get the rest with `git fetch --unshallow`"
    else:
        why = f"{clone} has no commit {ref}; name one with `--previous REF`"
    raise EnvironmentLacks(f"no earlier build: {why}")


def _lay_out(commit: str, folder: Path, clone: Path, person: Person) -> None:
    """Write the files as this person's; whole or not at all."""
    fresh = folder.with_name(f"{commit}.{os.getpid()}")
    archive = fresh.with_suffix(".tar")
    try:
        _run(person, ["mkdir", "-p", str(fresh)])
        _check(_git(clone, person, "archive", f"--output={archive}", commit, *_NEEDED))
        _run(person, ["tar", "-xf", str(archive), "-C", str(fresh)])
        _stamp(fresh, commit)
        _run(person, ["chmod", "-R", "a+rX", str(fresh)])  # pods run as others, whatever the umask
        _run(person, [sys.executable, "-m", "compileall", "-q", str(fresh / "reference_mesh")])
        if not folder.is_dir():  # another process may have been quicker
            fresh.rename(folder)
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)


def _stamp(root: Path, commit: str) -> None:
    for name, version in _VERSIONS.items():
        file = root / name
        text, found = version.subn(rf'\1-g{commit}"', file.read_text(encoding="utf-8"))
        if not found:
            raise EnvironmentLacks(f"no earlier build: {commit} has no version in {name}")
        file.write_text(text, encoding="utf-8")


def _git(clone: Path, person: Person, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return run_as(person, ["git", "-C", str(clone), *arguments], stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise EnvironmentLacks("no earlier build: git is not on the path; install it") from error


def _run(person: Person, command: list[str]) -> None:
    _check(run_as(person, command, stderr=subprocess.PIPE))


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise EnvironmentLacks(
            f"no earlier build: {' '.join(done.args[:5])} ended with {done.returncode}: "
            f"{done.stderr.strip()[-300:]}"
        )
