"""Where a detached cluster leaves word of itself: a folder per cluster, of who started it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.cluster import places
from harness.cluster.kubeconfig import write_private

__all__ = ["State", "known", "read"]


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
        owner = places.invoking_user()
        write_private(self.kubeconfig, kubeconfig, owner)
        record = msgspec.json.encode(_Record(pid, _started(pid))).decode()
        write_private(self.folder / "state.json", record, owner)

    def forget(self) -> None:
        """Remove everything about it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read(name: str, *, create: bool = False) -> State:
    """
    What is known of a cluster; its folder is made with `create`.

    Raises:
        UsageError: the name cannot be one.

    """
    places.check_name(name)
    folder = places.state_folder() / name
    if create:
        places.make(folder)
    pid = 0
    with contextlib.suppress(OSError, msgspec.DecodeError):
        record = msgspec.json.decode((folder / "state.json").read_bytes(), type=_Record)
        if _started(record.pid) == record.started:
            pid = record.pid
    return State(name, folder, pid)


def known() -> list[State]:
    """All detached clusters that left word, by name."""
    try:
        found = sorted(each.name for each in places.state_folder().iterdir())
    except FileNotFoundError:
        return []
    return [read(name) for name in found if places.names(name)]


def _started(pid: int) -> int:
    """Field 22 of /proc/PID/stat. Raises OSError when no such process runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])
