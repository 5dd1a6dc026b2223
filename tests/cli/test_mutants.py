"""`meshmark run mutants` without a mesh: what is run, and what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.cli import mutants
from harness.errors import MeshmarkError
from harness.plugin.options import Options
from harness.record.catalogue import Lane
from harness.record.folder import read_kill_matrix
from harness.record.model import (
    CheckRecord,
    ClusterFacts,
    Exit,
    Level,
    MeshFacts,
    Run,
    Verdict,
)

if TYPE_CHECKING:
    from pathlib import Path

CATALOGUE = """
[sources]
x = "somewhere"
[[mutant]]
id = "breaks-routes"
defect = "nobody is reached"
[[mutant]]
id = "late"
defect = "certificates are late"
"""
CHECK = """
[[check]]
id = "{id}"
title = "t"
level = "core"
lane = "{lane}"
feature = "routing"
source = "x"
assertion = ["exact"]
detail = ""
mutants = [{mutants}]
"""


@pytest.fixture
def options(tmp_path: Path) -> Options:
    checks = [("RT-01", "steady", '"breaks-routes"'), ("ID-01", "short", '"late"'),
              ("TLS-01", "steady", "")]  # fmt: skip
    path = tmp_path / "catalogue.toml"
    path.write_text(
        CATALOGUE + "".join(CHECK.format(id=i, lane=lane, mutants=m) for i, lane, m in checks)
    )
    return Options(catalogue=path, out=tmp_path / "out")


class Child:
    """Passes on the sound mesh what it is asked for, and fails as told on mutants."""

    def __init__(self, **kills: list[str] | None) -> None:
        self.kills = kills
        self.asked: list[Options] = []

    def __call__(self, options: Options, aloud: bool) -> Run | None:
        self.asked.append(options)
        kills = self.kills.get((options.mutant or "none").replace("-", "_"), [])
        if kills is None:
            return None
        asked = options.selection.split(" or ")
        records = [
            CheckRecord(id=i, level=Level.CORE, verdict=self._verdict(i, asked, kills))
            for i in ("RT-01", "ID-01", "TLS-01")
        ]
        return Run(
            suite="conformance", mesh=MeshFacts(name="reference"), complete=True, checks=records,
            cluster=ClusterFacts(engine="embedded"), started="2026-11-23T04:00:00Z",
        )  # fmt: skip

    def _verdict(self, check_id: str, asked: list[str], kills: list[str]) -> Verdict:
        if check_id not in asked:
            return Verdict.NOT_RUN
        return Verdict.FAIL if check_id in kills else Verdict.PASS


def folder_of(options: Options) -> Path:
    return (options.out / "latest").resolve()


def test_each_mutant_meets_its_checks_and_reachability(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    child = Child(breaks_routes=["RT-01"], late=["ID-01"])
    code = mutants.run(options, every_check=False, child=child)
    assert [(one.mutant, one.selection, one.lane) for one in child.asked] == [
        (None, "RT-01 or ID-01", None),
        ("breaks-routes", "RT-01", Lane.STEADY),
        ("late", "RT-01 or ID-01", None),
    ]
    matrix = read_kill_matrix(folder_of(options))
    assert matrix is not None
    assert matrix.checks == {"RT-01": ["breaks-routes"], "ID-01": ["late"]}
    assert matrix.core_without_kill == ["TLS-01"], "it has a test and names no mutant"
    assert code == Exit.FAILED
    assert "2 of 2 caught; core checks that caught none: TLS-01" in capsys.readouterr().out


def test_a_check_that_misses_what_it_names_fails_the_matrix(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where RT-01, or any other check, caught the same defect."""
    one = msgspec.structs.replace(options, mutant="late")
    child = Child(late=["RT-01"])
    assert mutants.run(one, every_check=False, child=child) == Exit.FAILED
    matrix = read_kill_matrix(folder_of(options))
    assert matrix is not None
    assert matrix.alive == []
    assert [str(pair) for pair in matrix.missed] == ["late by ID-01 (pass)"]
    told = capsys.readouterr().out
    assert "✓ caught by RT-01; not by ID-01 pass" in told
    assert "1 of 1 caught; missed: late by ID-01 (pass)" in told
    page = (folder_of(options) / "report.html").read_text()
    assert "Missed by checks that name them: late by" in page


def test_a_run_without_record_is_no_kill(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    code = mutants.run(options, every_check=False, child=Child(breaks_routes=["RT-01"], late=None))
    assert code == Exit.FAILED
    matrix = read_kill_matrix(folder_of(options))
    assert matrix is not None
    assert [(one.id, one.killed_by) for one in matrix.mutants] == [
        ("breaks-routes", ["RT-01"]),
        ("late", []),
    ]
    assert [str(pair) for pair in matrix.missed] == ["late by ID-01 (error)"]
    assert "✗ not caught; not by ID-01 error" in capsys.readouterr().out


def test_one_mutant_is_judged_by_what_was_run(options: Options) -> None:
    one = msgspec.structs.replace(options, mutant="breaks-routes")
    child = Child(breaks_routes=["RT-01"])
    assert mutants.run(one, every_check=False, child=child) == Exit.GOOD
    assert [asked.selection for asked in child.asked] == ["RT-01", "RT-01"]


def test_a_check_can_be_tried_on_a_mutant_that_it_does_not_name(options: Options) -> None:
    tried = msgspec.structs.replace(options, mutant="late", selection="TLS-01")
    child = Child(late=["TLS-01"])
    assert mutants.run(tried, every_check=False, child=child) == Exit.GOOD
    assert [asked.selection for asked in child.asked] == ["TLS-01", "RT-01 or TLS-01"]
    matrix = read_kill_matrix(folder_of(options))
    assert matrix is not None
    assert matrix.missed == [], "ID-01, which names it, was not asked"


def test_without_a_sound_run_there_is_no_matrix(options: Options) -> None:
    with pytest.raises(MeshmarkError, match="sound mesh left no record"):
        mutants.run(options, every_check=False, child=Child(none=None))
