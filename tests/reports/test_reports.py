"""What readers see of one run and of several."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
import yaml

from harness.record.histogram import Latencies
from harness.record.model import (
    CheckRecord,
    ClusterFacts,
    Evidence,
    Failure,
    Figure,
    KillMatrix,
    Level,
    MeshFacts,
    Missed,
    Mutant,
    Run,
    Verdict,
)
from reports import difference, view
from reports.comparison import comparison_page
from reports.conformance_report import conformance_report
from reports.junit import junit_xml
from reports.page import run_page

VOID = {"meta", "br", "link", "img", "hr", "input"}


def record(check_id: str, verdict: Verdict = Verdict.PASS, **more: Any) -> CheckRecord:
    level = more.pop("level", Level.CORE)
    return CheckRecord(id=check_id, level=level, verdict=verdict, title=f"Title {check_id}", **more)


FAILED = record(
    "TLS-03",
    Verdict.FAIL,
    failure=Failure(
        phase="measure",
        message="answers <without> mTLS",
        expected="0",
        seen="3",
        rerun="meshmark run conformance -k TLS-03 --keep",
    ),
    evidence=[Evidence(kind="ledger", data={"client": 3})],
    phases={"converge": 0.1, "measure": 2.0},
)


def a_run(*checks: CheckRecord, **more: Any) -> Run:
    return Run(
        id="20261123T040000Z-conformance-reference-ab12",
        suite=more.pop("suite", "conformance"),
        mesh=MeshFacts(name="reference", version="0.1.0", features=["mtls"]),
        cluster=ClusterFacts(engine="embedded"),
        started="2026-11-23T04:00:00Z",
        finished="2026-11-23T04:07:12Z",
        command="meshmark run conformance",
        complete=more.pop("complete", True),
        checks=list(checks),
        **more,
    )


class Structure(HTMLParser):
    """Collects ids and references, and checks that elements close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        self.references += [str(found[key]) for key in ("href", "src") if key in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (a_run(record("RT-01")), "The one core check that ran passed."),
        (a_run(record("RT-01"), record("RT-02")), "All 2 core checks that ran passed."),
        (a_run(record("RT-01"), FAILED), "1 of 2 core checks failed: TLS-03."),
        (
            a_run(FAILED, record("RT-01", Verdict.ERROR)),
            "1 of 2 core checks failed: TLS-03.",
        ),
        (
            a_run(record("RT-01", Verdict.ERROR)),
            "1 of 1 core checks could not be asked: RT-01.",
        ),
        (
            a_run(record("RT-01", Verdict.INCONCLUSIVE), complete=False),
            "The run ended early. 1 of 1 core checks inconclusive: RT-01.",
        ),
        (a_run(record("RT-01", Verdict.NOT_IMPLEMENTED)), "No core check was asked."),
        (
            a_run(record("RT-01"), record("RT-02", Verdict.KNOWN_FAIL)),
            "1 core checks passed, RT-02 failed as known.",
        ),
        (
            a_run(
                suite="perf",
                figures=[Figure(name="added p99", value=1.3, unit="ms", target=1, met=False)],
            ),
            "1 of 1 figures missed their targets: added p99 1.3 ms (target 1 ms).",
        ),
        (
            a_run(suite="perf", figures=[Figure(name="p99", value=1, unit="ms", target=2)]),
            "1 of 1 figures could not be judged: p99.",
        ),
    ],
)
def test_the_first_screen_is_one_sentence(run: Run, told: str) -> None:
    assert view.headline(run) == told


def test_a_mutants_run_says_what_became_of_the_defects() -> None:
    caught = Mutant(id="m1", defect="d", killed_by=["RT-01"])
    alive = Mutant(id="m2", defect="d")
    run = a_run(record("RT-01"), suite="mutants")
    matrix = KillMatrix(mutants=[caught], checks={"RT-01": ["m1"]}, core_without_kill=[])
    assert view.headline(run, matrix) == "All 1 planted defects were caught."
    matrix = KillMatrix(mutants=[caught, alive], checks={}, core_without_kill=["RT-01"])
    assert view.headline(run, matrix) == (
        "1 of 2 planted defects were caught, not m2. Core checks that caught none: RT-01."
    )
    missed = [Missed(check="TLS-03", mutant="m1", verdict=Verdict.PASS)]
    matrix = KillMatrix(mutants=[caught], checks={}, core_without_kill=[], missed=missed)
    assert view.headline(run, matrix) == (
        "All 1 planted defects were caught. Missed by checks that name them: m1 by TLS-03 (pass)."
    )
    assert '<span class="no">✕</span> TLS-03 (pass)' in run_page(run, matrix, {})


def full_run() -> tuple[Run, KillMatrix, dict[str, Latencies]]:
    latencies = Latencies()
    latencies.record_all(range(100_000, 2_000_000, 100))
    run = a_run(
        record("RT-01", value=0.897, unit="share", interval=(0.885, 0.908), n=4400),
        FAILED,
        record("SP-01", Verdict.NOT_IMPLEMENTED, reason="has no test yet"),
        record("LB-04", Verdict.UNSUPPORTED, reason="not claimed", level=Level.EXPERIMENTAL),
        figures=[
            Figure(
                name="added p99",
                value=0.6,
                unit="ms",
                interval=(0.5, 0.7),
                n=6,
                target=1,
                met=True,
                blocks=[0.5, 0.6, 0.7, 0.55, 0.65, 0.6],
            )
        ],
        fingerprint={"machine": {"cores": 2}, "configuration": {"lane": "all"}},
    )
    matrix = KillMatrix(
        mutants=[Mutant(id="counters-drop", defect="one in a hundred is lost")],
        checks={"RT-01": []},
        core_without_kill=["RT-01"],
    )
    return run, matrix, {"direct": latencies, "meshed": latencies}


def test_a_page_needs_nothing_but_itself() -> None:
    page = run_page(*full_run())
    structure = Structure(page)
    assert "script" not in structure.tags
    assert len(structure.ids) == len(set(structure.ids))
    local = [one for one in structure.references if not one.startswith("#")]
    assert local == []
    assert {one[1:] for one in structure.references} <= {*structure.ids, ""}
    assert "url(" not in page
    assert "@import" not in page
    assert len(page.encode()) < 1_000_000


def test_a_page_shows_failures_with_both_sides_and_the_way_back() -> None:
    page = run_page(*full_run())
    assert "answers &lt;without&gt; mTLS" in page
    for told in ("TLS-03", "meshmark run conformance -k TLS-03 --keep", "(here)", "counters-drop"):
        assert told in page
    assert page.index("What did not pass") < page.index("All checks, worst first")


def test_a_killed_run_still_renders_what_it_had() -> None:
    run = msgspec.structs.replace(a_run(record("RT-01"), complete=False), finished="")
    page = run_page(run, None, {})
    assert "The run ended early. The one core check that ran passed." in page
    assert "Recorded until then: 1 passed." in page
    assert "Incomplete." in page


def test_the_same_run_gives_the_same_bytes() -> None:
    assert run_page(*full_run()) == run_page(*full_run())
    assert comparison_page([full_run()[0]] * 2, [{}, {}]) == comparison_page(
        [full_run()[0]] * 2, [{}, {}]
    )


def test_a_page_stays_small_whatever_was_kept() -> None:
    heavy = [
        msgspec.structs.replace(
            FAILED, id=f"TLS-{place}", evidence=[Evidence(kind="log", text="x" * 4000)] * 5
        )
        for place in range(198)
    ]
    page = run_page(a_run(*heavy), None, {})
    assert len(page.encode()) < 1_000_000
    assert "the page is full; the run folder has it" in page


def test_verdicts_are_told_by_shape_and_word() -> None:
    assert len(set(view.MARKS.values())) == len(Verdict)
    for verdict in Verdict:
        page = run_page(a_run(record("RT-01", verdict)), None, {})
        assert f"{view.MARKS[verdict]}</i><b>1</b> {view.WORDS[verdict]}" in page


def test_junit_sorts_verdicts_into_its_four() -> None:
    run = a_run(
        record("RT-01"),
        FAILED,
        record("ID-01", Verdict.INCONCLUSIVE, reason="\x00 control"),
        record("SP-01", Verdict.NOT_IMPLEMENTED, reason="has no test yet"),
    )
    suite = ET.fromstring(junit_xml(run)).find("testsuite")
    assert suite is not None
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == list("4111")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text is not None
    assert "seen: 3" in failure.text


def test_a_conformance_report_names_what_was_skipped_and_proves_what_it_claims() -> None:
    run = a_run(
        record("TLS-01", feature="mtls"),
        record("TLS-06", Verdict.NOT_IMPLEMENTED, level=Level.EXTENDED, feature="tls-policy"),
        record("AZ-01", Verdict.FAIL, feature="authorization"),
    )
    report = yaml.safe_load(conformance_report(run))
    tls, authorization = report["profiles"]
    assert report["kind"] == "ConformanceReport"
    assert tls["core"]["result"] == "success"
    assert tls["extended"]["skippedTests"] == ["TLS-06 (not-implemented)"]
    assert tls["extended"]["supportedFeatures"] == ["mtls"]
    assert authorization["core"]["failedTests"] == ["AZ-01"]


def test_a_comparison_tells_the_worst_change_first() -> None:
    before = a_run(record("RT-01"), record("TLS-03"), record("ID-01", Verdict.FAIL))
    after = a_run(record("RT-01"), FAILED, record("ID-01"), record("SP-01"))
    rows = difference.check_rows([before, after])
    assert [(row.id, row.kind) for row in rows] == [
        ("TLS-03", "worse"),
        ("ID-01", "better"),
        ("SP-01", "changed"),
        ("RT-01", "same"),
    ]
    assert difference.sentence([before, after], ["A", "B"]) == (
        "B is worse than A on 1 of 4: TLS-03; better on 1, changed on 1, same on 1."
    )
    assert difference.sentence([before, after, before], ["A", "B", "C"]) == (
        "Against A: B is worse on 1 (TLS-03) and better on 1 of 4; "
        "C is worse on 0 and better on 0 of 3."
    )
    assert difference.sentence([before, before], ["A", "B"]) == (
        "B is neither worse nor better than A: 3 compared, same on 3."
    )


def test_a_value_that_moved_is_a_change_although_the_verdict_is_the_same() -> None:
    def split(low: float, high: float) -> Run:
        return a_run(record("SP-01", value=(low + high) / 2, unit="share", interval=(low, high)))

    far, near = split(0.93, 0.95), split(0.88, 0.91)
    assert difference.check_rows([split(0.88, 0.92), far])[0].kind == "changed"
    assert difference.check_rows([split(0.88, 0.92), near])[0].kind == "same"


def figure(value: float, spread: float, blocks: int = 12) -> Figure:
    values = [value + spread * (place / blocks - 0.5) for place in range(blocks)]
    return Figure(name="p99", value=value, unit="ms", n=blocks, blocks=values)


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (figure(1.5, 0.1), "worse"),
        (figure(0.5, 0.1), "better"),
        (figure(1.0, 0.02), "same"),
        (figure(1.1, 0.9), "inconclusive"),
        (Figure(name="p99", value=1.5, unit="ms"), "inconclusive"),
        (Figure(name="p99", value=1500, unit="us"), "changed"),
    ],
)
def test_a_figure_is_worse_only_when_its_interval_says_so(after: Figure, kind: str) -> None:
    before = figure(1.0, 0.02)
    rows = difference.figure_rows([a_run(figures=[before]), a_run(figures=[after])])
    assert rows[0].kind == kind


def test_conditions_that_differ_are_told_and_those_that_matter_first() -> None:
    def under(kernel: str, commit: str, load: float) -> Run:
        machine = {"kernel": kernel, "load_1min": load}
        return a_run(fingerprint={"machine": machine, "software": {"commit": commit}})

    found = difference.conditions([under("6.1", "aaa", 0.1), under("6.18", "bbb", 9.0)])
    assert [(one.name, one.matters) for one in found] == [
        ("machine / kernel", True),
        ("software / commit", False),
    ]


def test_a_comparison_page_of_three_runs_warns_of_other_conditions() -> None:
    run, _, histograms = full_run()
    other = msgspec.structs.replace(run, fingerprint={"machine": {"cores": 8}})
    page = comparison_page([run, other, run], [histograms] * 3)
    structure = Structure(page)
    assert "script" not in structure.tags
    assert "Not measured under the same conditions" in page
    assert re.search(r"<th[^>]*>C</th>", page)
