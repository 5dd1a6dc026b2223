"""How long a run took, as figures of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from harness.record.model import Figure, Level

if TYPE_CHECKING:
    from harness.record.model import Run

__all__ = ["core_checks"]

_TARGETS_S = {"kind": 600.0}
"""What is aimed at on two cores, by engine."""


def core_checks(run: Run) -> Figure:
    """The time of all core checks; lanes run side by side, so the longest lane's."""
    lanes: dict[str, float] = defaultdict(float)
    for record in run.checks:
        if record.level is Level.CORE:
            lanes[record.lane] += record.seconds
    value = round(max(lanes.values(), default=0.0), 1)
    target = _TARGETS_S.get(run.cluster.engine)
    met = None if target is None else value <= target
    return Figure(name="core checks", value=value, unit="s", n=1, target=target, met=met)
