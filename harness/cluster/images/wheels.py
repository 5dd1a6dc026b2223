"""Python packages for images: exactly those of a lock file, whatever Python this machine has."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from harness import toolchain
from harness.cluster.images import cache, debian
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SITE", "installed"]

SITE = "usr/local/lib/python3.11/dist-packages"
"""Where Debian's Python 3.11 looks for what is not Debian's, relative to the root."""

_MANYLINUX = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""What runs on the glibc of the base, 2.36."""


def installed(lock: Path, base: Path) -> Path:
    """
    A folder with what the lock file names at `SITE`, compiled by the Python of `base`.

    Raises:
        EnvironmentLacks: pip is missing, or could not fetch a wheel with the hash that is locked.

    """

    def make(root: Path) -> None:
        site = root / SITE
        _install(lock, site)
        # Scripts start with the path of this machine's Python, and the records have their hashes.
        shutil.rmtree(site / "bin", ignore_errors=True)
        for record in site.glob("*.dist-info/RECORD"):
            record.unlink()
        debian.compile_python(base, root, SITE)

    return cache.kept("wheels", [lock.read_text(), base.name], make)


def _install(lock: Path, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(site), "--requirement", str(lock), "--no-deps", "--no-compile"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    command += ["--python-version=3.11", "--root-user-action=ignore"]
    command += [f"--platform={each}_{platform.machine()}" for each in _MANYLINUX]
    done = toolchain.run_as(toolchain.invoking_person(), command, stderr=subprocess.PIPE)
    if done.returncode:
        raise EnvironmentLacks(
            f"cannot install {lock} into an image (pip's exit code {done.returncode}): "
            f"{(done.stderr or done.stdout).strip()[-800:]}"
        )
