"""
CPU and memory limits of containers, by whichever control groups the machine lets us make.

Groups are files of the machine, not of a namespace: they are the one thing that does not go away
with the processes. So both the outermost process and process 1 remove them, whichever survives the
other. Where no group can be made, limits are not enforced, and an event says so.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.errors import NotInTime
from harness.waiting import until

__all__ = ["Cgroups", "group_name", "remove_groups"]

_CPU_PERIOD_US = 100_000
_MIN_CPU_QUOTA_US = 1000
"""The kernel's least."""
_GONE_WITHIN_S = 2.0
"""A group of killed processes stays busy until the kernel has torn them down."""


def group_name(outer_pid: int) -> str:
    """Name of a cluster's group: unique on the machine while its outermost process lives."""
    return f"meshmark-{outer_pid}"


def remove_groups(name: str) -> None:
    """Remove a cluster's groups once their processes have ended; never raises."""
    for root in {*_version_1().values(), *_version_2()}:
        top = root / name
        if not top.is_dir():
            continue
        for each in (*(child for child in top.iterdir() if child.is_dir()), top):
            _remove(each)


class Cgroups:
    """Makes a group per container. `available` is False where the machine does not let us."""

    def __init__(self, name: str) -> None:
        self._roots: dict[str, Path] = {}
        self._unified = False
        with contextlib.suppress(OSError):
            self._roots = _make_roots(name)
            self._unified = len(set(self._roots.values())) == 1 and bool(_version_2())

    @property
    def available(self) -> bool:
        """Whether limits are enforced."""
        return {"cpu", "memory"} <= self._roots.keys()

    def limit(self, identity: str, *, cpu: float | None, memory_bytes: int | None) -> list[str]:
        """
        Make a group with these limits and return the files that a process joins it by.

        cpu: cores. memory_bytes: of the whole container; beyond it the kernel kills.
        """
        if not self.available:
            return []
        joined = []
        for controller, folder in self._folders(identity).items():
            folder.mkdir(exist_ok=True)
            if controller == "memory" and memory_bytes is not None:
                name = "memory.max" if self._unified else "memory.limit_in_bytes"
                (folder / name).write_text(str(memory_bytes))
            if controller == "cpu" and cpu is not None:
                quota_us = max(_MIN_CPU_QUOTA_US, int(cpu * _CPU_PERIOD_US))
                if self._unified:
                    (folder / "cpu.max").write_text(f"{quota_us} {_CPU_PERIOD_US}")
                else:
                    (folder / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
                    (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
            joined.append(str(folder / "cgroup.procs"))
        return sorted(set(joined))

    def killed_for_memory(self, identity: str) -> bool:
        """Whether the kernel killed a process of this container for its memory."""
        if not self.available:
            return False
        name = "memory.events" if self._unified else "memory.oom_control"
        with contextlib.suppress(OSError):
            for line in (self._folders(identity)["memory"] / name).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1]) > 0
        return False

    def release(self, identity: str) -> None:
        """Remove a container's group; what still ends in it is left to the cluster's end."""
        for folder in self._folders(identity).values():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _folders(self, identity: str) -> dict[str, Path]:
        return {controller: root / identity for controller, root in self._roots.items()}


def _make_roots(name: str) -> dict[str, Path]:
    """The cluster's own group in each hierarchy, by controller. Raises OSError."""
    separate = _version_1()
    if {"cpu", "memory"} <= separate.keys():
        roots = {controller: root / name for controller, root in separate.items()}
        for root in roots.values():
            root.mkdir(exist_ok=True)
        return roots
    for mounted in _version_2():
        root = mounted / name
        root.mkdir()
        (root / "cgroup.subtree_control").write_text("+cpu +memory")
        return {"cpu": root, "memory": root}
    return {}


def _version_1() -> dict[str, Path]:
    """Where the hierarchies of cpu and memory are mounted, if they are."""
    found = {}
    for folder, kind, options in _mounts():
        for controller in {"cpu", "memory"} & set(options.split(",")):
            if kind == "cgroup":
                found[controller] = folder
    return found


def _version_2() -> list[Path]:
    return [folder for folder, kind, _ in _mounts() if kind == "cgroup2"]


def _mounts() -> list[tuple[Path, str, str]]:
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [(Path(row[1]), row[2], row[3]) for row in rows if row[2].startswith("cgroup")]


def _remove(group: Path) -> None:
    with contextlib.suppress(NotInTime):
        until(
            lambda: _removed(group),
            what=f"{group} removed",
            timeout_s=_GONE_WITHIN_S,
            interval_s=0.01,
        )


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
