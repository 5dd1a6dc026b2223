"""
Judging: what happens in every process that runs tests.

Collects the tests of each check, follows each test through its phases, and sends one `Part` per
test with its last report. pytest-xdist carries reports between processes, so nothing else has to.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.errors import Unsupported, UsageError
from harness.plugin.check import CHECK, Check
from harness.plugin.context import Facts
from harness.plugin.judge import Judgement, judge
from harness.record.model import CheckRecord, Evidence, Figure, Verdict

if TYPE_CHECKING:
    from collections.abc import Generator

    from harness.plugin.context import RunContext
    from harness.plugin.options import Options
    from harness.record.catalogue import Catalogue, Entry

__all__ = ["Collected", "Judge", "Part", "part_of"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one test has to say.

    tests: how many selected tests its check has. checks: how many checks the run has.
    facts, figures, hints: of the run, when new.
    """

    record: CheckRecord
    tests: int
    checks: int
    facts: Facts | None = None
    figures: list[Figure] = []
    hints: list[str] = []


class Collected(msgspec.Struct, kw_only=True):
    """Checks that have a test, and for those left out, why."""

    with_test: list[str] = []
    left_out: dict[str, str] = {}


_JUDGEMENTS = pytest.StashKey[list[Judgement]]()


class Judge:
    """Hooks of the process that runs tests."""

    def __init__(self, options: Options, catalogue: Catalogue, context: RunContext) -> None:
        self._options = options
        self._catalogue = catalogue
        self._context = context
        self._tests: Counter[str] = Counter()
        self.collected = Collected()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Learn which checks have tests, make ids selectable by -k, and keep to the lane."""
        chosen: list[pytest.Item] = []
        for item in items:
            marker = item.get_closest_marker("check")
            if marker is None:
                chosen.append(item)
                continue
            try:
                entry = self._catalogue[marker.args[0]]
            except UsageError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from error
            self.collected.with_test.append(entry.id)
            item.stash[CHECK] = Check(entry, self._options.seed)
            item.extra_keyword_matches.add(entry.id)
            item.add_marker(pytest.mark.xdist_group(entry.lane.value))
            left_out_because = self._left_out(entry)
            if left_out_because:
                self.collected.left_out[entry.id] = left_out_because
            else:
                chosen.append(item)
        chosen.sort(key=_turn)
        left_out = [item for item in items if item not in set(chosen)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = chosen

    def _left_out(self, entry: Entry) -> str:
        if self._options.lane not in (None, entry.lane):
            return f"only lane {self._options.lane} was run"
        return entry.left_out_of(self._options.engine)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the selected tests of each check."""
        self._tests = Counter(item.stash[CHECK].id for item in session.items if CHECK in item.stash)
        for check_id in self.collected.with_test:
            if check_id not in self._tests:
                reason = f"not selected by -k {self._options.selection!r}"
                self.collected.left_out.setdefault(check_id, reason)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Bring nothing up for what the mesh, once known, does not claim to answer."""
        self._refuse_unclaimed(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Do not ask the first test either, whose fixtures have made the mesh known."""
        self._refuse_unclaimed(item)

    def _refuse_unclaimed(self, item: pytest.Item) -> None:
        facts = self._context.facts
        if CHECK not in item.stash or facts is None:
            return
        feature = item.stash[CHECK].entry.feature
        if feature and feature not in facts.features:
            raise Unsupported(feature, f"{self._options.mesh} does not claim it")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge each stage of a test; the last one sends its part."""
        report = yield
        if CHECK not in item.stash:
            return report
        check = item.stash[CHECK]
        judgements = item.stash.setdefault(_JUDGEMENTS, [])
        check.seconds += call.duration
        stage = {"setup": "arrange", "call": "measure", "teardown": "tear down"}[call.when]
        if call.when == "setup":
            check.phases[stage] = round(call.duration, 4)
        elif call.when == "teardown":
            check.phases[stage] = round(check.phases.get(stage, 0.0) + call.duration, 4)
        elif not check.phases.keys() - {"arrange"}:
            check.phases[stage] = round(call.duration, 4)
        if call.excinfo is not None:
            phase = check.failed_phase if call.when != "teardown" else None
            judgement = self._judge(call.excinfo, phase or stage, check)
            judgements.append(judgement)
            if judgement.failure is not None and call.when != "teardown":
                _gather_evidence(item, check)
        if call.when == "teardown":
            vars(report)["meshmark"] = msgspec.to_builtins(self._part(check, judgements))
        return report

    def _judge(
        self, error: pytest.ExceptionInfo[BaseException], phase: str, check: Check
    ) -> Judgement:
        claimed = self._context.facts.features if self._context.facts else None
        rerun = self._options.command(check.id, keep=True)
        judgement = judge(error.value, phase, claimed, rerun)
        if judgement.verdict in (Verdict.FAIL, Verdict.ERROR):
            trace = str(error.getrepr(style="short", chain=True))
            check.kept.append(Evidence(kind="traceback", text=trace))
        return judgement

    def _part(self, check: Check, judgements: list[Judgement]) -> Part:
        passed = Judgement(verdict=Verdict.PASS)
        judgement = min(judgements, key=lambda one: one.verdict.badness, default=passed)
        entry = check.entry
        record = CheckRecord(
            id=entry.id,
            level=entry.level,
            verdict=judgement.verdict,
            value=check.value,
            unit=check.unit,
            interval=check.interval,
            n=check.n,
            seconds=round(check.seconds, 3),
            phases=check.phases,
            evidence=check.kept,
            title=entry.title,
            feature=entry.feature,
            lane=entry.lane.value,
            reason=judgement.reason,
            failure=judgement.failure,
        )
        facts, figures, hints = self._context.take_unsent()
        return Part(
            record=record,
            tests=self._tests[entry.id],
            checks=len(self._tests),
            facts=facts,
            figures=figures,
            hints=hints,
        )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In a worker of pytest-xdist, hand over what was collected."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["meshmark"] = msgspec.to_builtins(self.collected)


def part_of(report: pytest.TestReport) -> Part | None:
    """The part that came with a report, if it is the last of a check's test."""
    sent = getattr(report, "meshmark", None)
    return None if sent is None else msgspec.convert(sent, Part)


def _gather_evidence(item: pytest.Item, check: Check) -> None:
    """Let the suite keep what it can; what breaks while it does is evidence too."""
    try:
        item.ihook.pytest_meshmark_evidence(item=item, check=check)
    except Exception as error:
        check.evidence("no evidence", f"{type(error).__name__}: {error}")


def _turn(item: pytest.Item) -> tuple[bool, bool]:
    """What to sort by: what disturbs the mesh comes late, and what looks back on that last."""
    marker = item.get_closest_marker("check")
    said = marker.kwargs if marker else {}
    return bool(said.get("looks_back")), bool(said.get("last"))
