"""The processes of a pod, read on its node: from `/proc`, by the containers' control groups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.cluster.model import ProcessFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["facts", "script"]

_TICKS_PER_S = 100
"""Of /proc/PID/stat: USER_HZ, the same on every Linux that containers run on."""


def script(containers: Mapping[str, str]) -> str:
    """
    A shell script for the node that prints what `facts` reads.

    containers: name of each of the pod's containers by its id, 64 hexadecimal digits.
    """
    wanted = "|".join(containers)
    return (
        f'for group in $(grep -lE "{wanted}" /proc/[0-9]*/cgroup 2>/dev/null); do '
        'd=${group%/cgroup}; echo "@ ${d#/proc/}"; '
        "cat $d/cgroup $d/smaps_rollup $d/status $d/stat 2>/dev/null; done; true"
    )


def facts(said: str, containers: Mapping[str, str]) -> list[ProcessFacts]:
    """What the script printed, process by process; one that ended meanwhile is left out."""
    found = []
    for pid, text in _blocks(said):
        container = next((name for id_, name in containers.items() if id_ in text), None)
        sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
        stat = re.search(rf"^{pid} \((.*)\) (.*)$", text, re.MULTILINE)
        if container is None or stat is None or "Pss" not in sizes or "VmHWM" not in sizes:
            continue
        fields = stat[2].split()
        found.append(
            ProcessFacts(
                container=container,
                pid=pid,
                name=stat[1],
                pss_bytes=int(sizes["Pss"]) * 1024,
                private_dirty_bytes=int(sizes["Private_Dirty"]) * 1024,
                high_water_bytes=int(sizes["VmHWM"]) * 1024,
                cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
            )
        )
    return found


def _blocks(said: str) -> Iterator[tuple[int, str]]:
    for block in re.split(r"^@ ", said, flags=re.MULTILINE)[1:]:
        pid, _, text = block.partition("\n")
        yield int(pid), text
