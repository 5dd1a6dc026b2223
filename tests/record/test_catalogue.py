"""The catalogue, its loader, and the known-fail list."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from harness.errors import UsageError
from harness.plugin.options import Options, catalogue_of
from harness.record.catalogue import Lane, read_catalogue
from harness.record.knownfail import KnownFail, apply_known_fails, read_known_fails
from harness.record.model import CheckRecord, Level, Verdict

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = """
[[check]]
id = "RT-01"
title = "Reachability"
level = "core"
lane = "steady"
feature = "routing"
source = "meshmark"
assertion = ["exact"]
"""
TODAY = dt.date(2026, 11, 23)


def test_the_conformance_catalogue_lists_every_check_once() -> None:
    catalogue = catalogue_of(Options())
    levels = Counter(entry.level for entry in catalogue)
    assert len(catalogue) == 202
    assert levels == {Level.CORE: 92, Level.EXTENDED: 96, Level.EXPERIMENTAL: 14}
    assert catalogue["ID-03"].lane is Lane.SHORT
    only_embedded = {entry.id for entry in catalogue if entry.left_out_of("kind")}
    assert only_embedded == {"TLS-15", "LB-04", "PR-01", "PR-11"}
    only_kind = {entry.id for entry in catalogue if entry.left_out_of("embedded")}
    assert only_kind == {"LC-08", "LC-09"}
    assert all(entry.title and entry.source and entry.assertion for entry in catalogue)


def test_what_looks_at_processes_or_nodes_is_not_for_clusters_of_others() -> None:
    for suite, wanted in (
        ("conformance", {"PR-09", "LC-08", "LC-09"}),
        ("perf", {"PF-02", "PF-04", "PF-05", "PF-06"}),
    ):
        catalogue = catalogue_of(Options(suite=suite))
        left_out = {entry.id for entry in catalogue if entry.left_out_of("external")}
        assert left_out >= wanted


def test_a_suite_without_a_catalogue_has_no_checks() -> None:
    assert len(catalogue_of(Options(suite="none-such"))) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ENTRY + ENTRY, "RT-01 is listed twice"),
        (ENTRY.replace("core", "vital"), "Invalid enum value 'vital'"),
        (ENTRY + "colour = 1", "unknown field `colour`"),
        (ENTRY.replace('title = "Reachability"', ""), "missing required field `title`"),
        (ENTRY + 'mutants = ["gone"]', "RT-01 names no known mutant: gone"),
        (ENTRY + 'engines = ["embedded"]', "RT-01 is for some engines: say engines_why"),
        (ENTRY + 'engines = ["minikube"]', "Invalid enum value 'minikube'"),
        ("[[check", "Expected"),
    ],
)
def test_a_broken_catalogue_is_named_with_its_fault(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_catalogue(path)


def test_an_unknown_id_is_answered_with_near_ones(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(ENTRY)
    with pytest.raises(UsageError, match="did you mean RT-01"):
        _ = read_catalogue(path)["rt-1"]


def record(verdict: Verdict) -> CheckRecord:
    return CheckRecord(id="RT-01", level=Level.CORE, verdict=verdict)


@pytest.mark.parametrize(
    ("verdict", "mesh", "expires", "becomes"),
    [
        (Verdict.FAIL, "reference", dt.date(2026, 11, 23), Verdict.KNOWN_FAIL),
        (Verdict.FAIL, "reference", dt.date(2026, 11, 22), Verdict.FAIL),
        (Verdict.FAIL, "istio", dt.date(2026, 12, 1), Verdict.FAIL),
        (Verdict.PASS, "reference", dt.date(2026, 12, 1), Verdict.FAIL),
        (Verdict.ERROR, "reference", dt.date(2026, 12, 1), Verdict.ERROR),
    ],
)
def test_a_known_fail_holds_for_its_mesh_until_its_date(
    verdict: Verdict, mesh: str, expires: dt.date, becomes: Verdict
) -> None:
    entry = KnownFail(id="RT-01", mesh=mesh, reason="seen before", expires=expires)
    assert apply_known_fails(record(verdict), [entry], "reference", TODAY).verdict is becomes


def test_a_known_fail_of_an_unknown_check_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "known-fail.toml"
    path.write_text(
        '[[known_fail]]\nid = "XX-01"\nmesh = "m"\nreason = "r"\nexpires = 2026-12-01\n'
    )
    with pytest.raises(UsageError, match="no check 'XX-01'"):
        read_known_fails(path, catalogue_of(Options()))
    assert read_known_fails(tmp_path / "none.toml", catalogue_of(Options())) == []
