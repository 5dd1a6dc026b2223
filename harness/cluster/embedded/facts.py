"""What the processes of a pod cost, read from /proc by the engine, which sees all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.embedded.api.node import ProcessFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["process_facts"]

_KIB = 1024


def process_facts(containers: Mapping[int, str]) -> list[ProcessFacts]:
    """
    Facts of each process that is in one of the given containers, by pid.

    containers: the container's name by the inode of its mount namespace.
    """
    facts = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            container = containers.get(os.stat(f"/proc/{pid}/ns/mnt").st_ino)
            if container is not None:
                facts.append(_of(pid, container))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended since
    return facts


def _of(pid: int, container: str) -> ProcessFacts:
    folder = Path(f"/proc/{pid}")
    rollup = _table(folder / "smaps_rollup")
    status = _table(folder / "status")
    # The name in stat is in parentheses and may hold any character: fields start after the last.
    times = (folder / "stat").read_text().rpartition(")")[2].split()
    ticks = int(times[11]) + int(times[12])
    return ProcessFacts(
        container=container,
        pid=pid,
        name=(folder / "comm").read_text().strip(),
        pss_bytes=rollup.get("Pss", 0),
        private_dirty_bytes=rollup.get("Private_Dirty", 0),
        high_water_bytes=status.get("VmHWM", 0),
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
    )


def _table(path: Path) -> dict[str, int]:
    """Lines of the form `Pss:  12 kB`, as bytes."""
    table = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            table[words[0].rstrip(":")] = int(words[1]) * _KIB
    return table
