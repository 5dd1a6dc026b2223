"""How long a run took, as figures of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from harness.record.model import Figure, Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.record.model import CheckRecord, Run

__all__ = ["of_checks"]

_ALL_S = {"embedded": 480.0}
_CORE_S = {"kind": 600.0}
"""What is aimed at on two cores, by engine, for the checks of the conformance suite."""


def of_checks(run: Run) -> list[Figure]:
    """
    The time of all checks and of all core checks, once everything was built.

    Starting clusters counts, with the check that needs one first. Lanes run side by side, so it is
    the longest lane's.
    """
    core = (record for record in run.checks if record.level is Level.CORE)
    judged = run.suite == "conformance"
    return [
        _figure("all checks", run.checks, _ALL_S.get(run.cluster.engine) if judged else None),
        _figure("core checks", core, _CORE_S.get(run.cluster.engine) if judged else None),
    ]


def _figure(name: str, records: Iterable[CheckRecord], target: float | None) -> Figure:
    lanes: dict[str, float] = defaultdict(float)
    for record in records:
        lanes[record.lane] += record.seconds
    value = round(max(lanes.values(), default=0.0), 1)
    met = None if target is None else value <= target
    return Figure(name=name, value=value, unit="s", n=1, target=target, met=met)
