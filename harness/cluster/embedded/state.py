"""
Where a detached cluster leaves word of itself: a folder per cluster, owned by who started it.

With sudo only the engine runs as root, so the folder is in the invoking user's home and is theirs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.cluster.kubeconfig import write_private
from harness.errors import UsageError

__all__ = ["State", "invoking_user", "known", "read", "state_folder"]

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")


class _Record(msgspec.Struct):
    pid: int
    started: int
    """Start time of that process in clock ticks since boot: a reused pid has another one."""


@dataclass(frozen=True, slots=True)
class State:
    """One detached cluster. `pid` is its outermost process, 0 when that does not run."""

    name: str
    folder: Path
    pid: int

    @property
    def kubeconfig(self) -> Path:
        """The file for kubectl."""
        return self.folder / "kubeconfig"

    @property
    def log(self) -> Path:
        """What the engine had to say."""
        return self.folder / "engine.log"

    def record(self, pid: int, kubeconfig: str) -> None:
        """Write down a cluster that is up."""
        owner = invoking_user()
        write_private(self.kubeconfig, kubeconfig, owner)
        record = msgspec.json.encode(_Record(pid, _started(pid))).decode()
        write_private(self.folder / "state.json", record, owner)

    def forget(self) -> None:
        """Remove everything about it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def state_folder() -> Path:
    """The folder of all clusters: `$XDG_STATE_HOME/meshmark` or `~/.local/state/meshmark`."""
    owner = invoking_user()
    if owner is not None:
        return Path(pwd.getpwuid(owner[0]).pw_dir) / ".local" / "state" / "meshmark"
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named or Path.home() / ".local" / "state") / "meshmark"


def read(name: str, *, create: bool = False) -> State:
    """
    What is known of a cluster; its folder is made with `create`.

    Raises:
        UsageError: the name cannot be one.

    """
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} cannot name a cluster: use up to 40 lower-case letters, digits and dashes"
        )
    folder = state_folder() / name
    if create:
        _make(folder)
    pid = 0
    with contextlib.suppress(OSError, msgspec.DecodeError):
        record = msgspec.json.decode((folder / "state.json").read_bytes(), type=_Record)
        if _started(record.pid) == record.started:
            pid = record.pid
    return State(name, folder, pid)


def known() -> list[State]:
    """All detached clusters that left word, by name."""
    try:
        names = sorted(each.name for each in state_folder().iterdir() if _NAME.match(each.name))
    except FileNotFoundError:
        return []
    return [read(name) for name in names]


def invoking_user() -> tuple[int, int] | None:
    """Uid and gid of who called sudo; None without sudo."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not uid.isdigit() or not gid.isdigit() or int(uid) == 0:
        return None
    try:
        pwd.getpwuid(int(uid))
    except KeyError:
        return None
    return int(uid), int(gid)


def _make(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    owner = invoking_user()
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        if owner is not None:
            os.chown(each, *owner)


def _started(pid: int) -> int:
    """Field 22 of /proc/PID/stat. Raises OSError when no such process runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])
