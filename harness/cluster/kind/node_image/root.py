"""The root file system of a node: Debian packages, our programs, and our configuration."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.images import cache, debian
from harness.cluster.kind.go import silent
from harness.cluster.kind.node_image.versions import KUBERNETES, PACKAGES
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cluster.kind.go import Progress

__all__ = ["debian_base", "overlay", "write"]

_FILES = Path(__file__).with_name("files")
_UNITS = "etc/systemd/system"

_LINKS = {
    f"{_UNITS}/multi-user.target.wants/kubelet.service": "../kubelet.service",
    f"{_UNITS}/default.target": "/usr/lib/systemd/system/multi-user.target",
    # A container has no terminals to log in at, and its host keeps the time and the clock.
    **{
        f"{_UNITS}/{unit}": "/dev/null"
        for unit in (
            "apt-daily-upgrade.timer", "apt-daily.timer", "console-getty.service",
            "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
            "fstrim.timer", "getty.target", "systemd-firstboot.service",
            "systemd-logind.service", "systemd-update-utmp.service",
        )
    },
}  # fmt: skip

_TAIL_LINES = 8
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")


def debian_base(progress: Progress = silent) -> Path:
    """
    A tar of the packages, installed.

    Raises:
        EnvironmentLacks: mmdebstrap is missing, or the packages cannot be had.

    """
    mirror = os.environ.get(debian.MIRROR_VARIABLE, "")
    made_of = [debian.SUITE, mirror, *PACKAGES, *_LEFT_OUT]
    made = cache.kept("node-base", made_of, lambda target: _install(target, mirror, progress))
    return made / "base.tar"


def overlay(programs: Mapping[str, Path]) -> dict[str, Path | str]:
    """
    What lies on top of the base, by its path in the node: a file of ours, or where a link leads.

    programs: file by name; they are found on the node's path.
    """
    files: dict[str, Path | str] = {
        str(path.relative_to(_FILES)): path for path in sorted(_FILES.rglob("*")) if path.is_file()
    }
    return files | {f"usr/bin/{name}": path for name, path in programs.items()} | _LINKS


def write(target: Path, base: Path, above: Mapping[str, Path | str]) -> None:
    """Write the tar of a whole node. Raises OSError when the disk is full."""
    texts = {"kind/version": KUBERNETES, "etc/machine-id": ""}
    covered = above.keys() | texts.keys()
    with tarfile.open(base) as lower, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in lower:
            # Docker refuses a tar that has two files of one name.
            if entry.name.removeprefix("./") not in covered:
                tar.addfile(entry, lower.extractfile(entry) if entry.isreg() else None)
        for name, content in above.items():
            _add(tar, name, content)
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))


def _add(tar: tarfile.TarFile, name: str, content: Path | str) -> None:
    entry = tarfile.TarInfo(name)
    if isinstance(content, str):
        entry.type, entry.linkname = tarfile.SYMTYPE, content
        tar.addfile(entry)
        return
    entry.size = content.stat().st_size
    # A wheel does not keep modes. What is in a folder of programs is one.
    entry.mode = 0o755 if Path(name).parent.name in {"bin", "sbin"} else 0o644
    with content.open("rb") as file:
        tar.addfile(entry, file)


def _install(target: Path, mirror: str, progress: Progress) -> None:
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    command += [debian.SUITE, str(target / "base.tar"), *([mirror] if mirror else [])]
    said: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line.rstrip())
                progress(said[-1].removeprefix("I: "))
    except FileNotFoundError:
        raise EnvironmentLacks(
            "mmdebstrap is needed to make a node's base system: install it with "
            "`apt-get install mmdebstrap debian-archive-keyring`"
        ) from None
    if process.returncode:
        told = "\n".join(said)
        raise EnvironmentLacks(f"cannot make a base system of Debian {debian.SUITE}:\n{told}")
