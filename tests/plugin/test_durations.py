"""How long runs took, as figures."""

from __future__ import annotations

import pytest

from harness.plugin.durations import of_checks
from harness.record.model import CheckRecord, ClusterFacts, Level, MeshFacts, Run, Verdict


def a_run(engine: str, suite: str, *checks: CheckRecord) -> Run:
    return Run(
        suite=suite,
        mesh=MeshFacts(name="reference"),
        cluster=ClusterFacts(engine=engine),
        started="2026-01-01T00:00:00Z",
        checks=list(checks),
    )


def record(check_id: str, lane: str, seconds: float, level: Level) -> CheckRecord:
    return CheckRecord(
        id=check_id, title="", level=level, lane=lane, verdict=Verdict.PASS, seconds=seconds
    )


CHECKS = (
    record("A", "steady", 100.0, Level.CORE),
    record("B", "steady", 400.0, Level.EXTENDED),
    record("C", "short", 300.0, Level.CORE),
)


@pytest.mark.parametrize(
    ("engine", "suite", "targets"),
    [
        ("embedded", "conformance", [(480.0, False), (None, None)]),
        ("kind", "conformance", [(None, None), (600.0, True)]),
        ("embedded", "perf", [(None, None), (None, None)]),
    ],
)
def test_the_longest_lane_counts(
    engine: str, suite: str, targets: list[tuple[float | None, bool | None]]
) -> None:
    figures = of_checks(a_run(engine, suite, *CHECKS))
    assert [(f.name, f.value) for f in figures] == [("all checks", 500.0), ("core checks", 300.0)]
    assert [(f.target, f.met) for f in figures] == targets
