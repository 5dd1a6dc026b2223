"""
Base systems: nothing but the named Debian packages and what they depend on, unpacked.

`mmdebstrap` fetches and verifies them as apt does, and runs none of their scripts. So there is no
shell and no package manager in a base unless it is asked for, and making one takes seconds.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from harness.cluster.images import cache
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MIRROR_VARIABLE", "SUITE", "base", "compile_python"]

SUITE = "bookworm"
"""Debian 12; its Python is 3.11."""

MIRROR_VARIABLE = "MESHMARK_DEBIAN_MIRROR"
"""Names another mirror than mmdebstrap's own: `http://mirror.example/debian`."""

_NOT_WANTED = (
    "./dev",  # the container runtime makes it
    "./etc/apt", "./etc/dpkg", "./etc/fstab", "./etc/hostname", "./etc/resolv.conf",
    "./usr/lib/*/gconv",  # other character sets than UTF-8
    "./usr/share/bug", "./usr/share/doc-base", "./usr/share/info", "./usr/share/lintian",
    "./usr/share/locale", "./usr/share/man", "./usr/share/menu", "./usr/share/pixmaps",
    "./usr/share/applications", "./var",
)  # fmt: skip
_LIST = "etc/debian_packages"
"""File of a base that names what it is made of, with versions."""


def base(packages: Sequence[str]) -> Path:
    """
    A folder with these packages and their dependencies, as a root file system.

    It is made once and kept: to have it made of today's packages, remove it.

    Raises:
        EnvironmentLacks: mmdebstrap is missing, or it could not fetch or unpack them.

    """
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    mirrors = [mirror] if mirror else []

    def make(root: Path) -> None:
        _unpack(sorted(packages), mirrors, root)
        if (root / "usr/bin/python3.11").exists():
            compile_python(root, root, "usr/lib/python3.11")

    return cache.kept("debian", [SUITE, *mirrors, *_NOT_WANTED, *sorted(packages)], make)


def compile_python(base: Path, root: Path, below: str) -> None:
    """
    Compile the modules in the folder `below` of `root` with the Python of a base.

    A pod cannot: its file system is read only. The result is trusted without a look at the source,
    since a date would be the only other way to tell that it fits, and has no place in an image.

    Raises:
        EnvironmentLacks: it failed; the message ends with what it said.

    """
    arguments = ["-B", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash"]
    arguments += ["-s", str(root), "-p", "/", f"{root}/{below}"]
    (loader,) = base.glob("lib/*/ld-linux-*.so.*")
    triplet = loader.parent.name
    libraries = f"{base}/lib/{triplet}:{base}/usr/lib/{triplet}"
    command = [str(loader), "--library-path", libraries, f"{base}/usr/bin/python3.11"]
    done = subprocess.run(
        [*command, *arguments],
        env={"PYTHONHOME": f"{base}/usr", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EnvironmentLacks(
            f"the Python of {base} does not run here (exit code {done.returncode}): "
            f"{(done.stderr or done.stdout).strip()[-500:]}"
        )


def _unpack(packages: list[str], mirrors: list[str], root: Path) -> None:
    whole = root.with_name("fetched.tar")
    listing = 'cd "$1"/var/cache/apt/archives && ls -1 | grep deb$ > "$1"/' + _LIST
    fetch = ["mmdebstrap", "--variant=extract", f"--include={','.join(packages)}", "--format=tar"]
    fetch += ["--dpkgopt=path-exclude=/usr/share/doc/*"]
    fetch += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    fetch += [f"--extract-hook={listing}"]
    if os.geteuid() != 0:
        fetch += ["--mode=chrootless"]  # nothing of it is run, so no rights are needed
    fetch += [SUITE, str(whole), *mirrors]
    _run(fetch, packages)
    unpack = ["tar", "--extract", f"--file={whole}", f"--directory={root}", "--no-same-owner"]
    _run([*unpack, *(f"--exclude={path}" for path in _NOT_WANTED)], packages)


def _run(command: list[str], packages: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EnvironmentLacks(
            f"{command[0]} is needed to make the base of an image: "
            f"install it with `apt-get install {command[0]} debian-archive-keyring`"
        ) from error
    if done.returncode:
        raise EnvironmentLacks(
            f"cannot make a base of {', '.join(packages)} of Debian {SUITE}: {command[0]} ended "
            f"with exit code {done.returncode}: {done.stderr.strip()[-800:]}"
        )
