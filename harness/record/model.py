"""
What a run leaves behind: the shape of `run.json` and `kill-matrix.json`, schema 1.

Everything that a report shows is in here, so that a run folder can be copied anywhere and rendered
by any later version. Readers refuse a schema that they do not know (`harness.record.folder`).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "SCHEMA",
    "CheckRecord",
    "ClusterFacts",
    "Evidence",
    "Exit",
    "Failure",
    "Figure",
    "KillMatrix",
    "Level",
    "MeshFacts",
    "Missed",
    "Mutant",
    "Run",
    "Verdict",
    "exit_code",
    "merged",
    "worst",
]

SCHEMA = 1
"""Number of the schema written here. A reader of another number says so and stops."""


class Level(enum.StrEnum):
    """How much a check weighs: `core` decides whether a run is green, `extended` in strict runs."""

    CORE = "core"
    EXTENDED = "extended"
    EXPERIMENTAL = "experimental"


class Verdict(enum.StrEnum):
    """
    What one check came to, worst first.

    fail: the mesh did something else than it must.
    error: the harness could not ask the question.
    inconclusive: the question was asked and a precondition or positive control did not hold.
    known-fail: failed as the known-fail list expects.
    not-run: has a test that did not run; the reason says why.
    unsupported: the mesh does not claim the feature.
    pass: the mesh did what it must.
    not-implemented: in the catalogue, without a test.
    """

    FAIL = "fail"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    KNOWN_FAIL = "known-fail"
    NOT_RUN = "not-run"
    UNSUPPORTED = "unsupported"
    PASS = "pass"  # noqa: S105 - a verdict
    NOT_IMPLEMENTED = "not-implemented"

    @property
    def badness(self) -> int:
        """0 for the worst verdict, growing towards the harmless ones."""
        return _ORDER[self]


_ORDER = {verdict: place for place, verdict in enumerate(Verdict)}

_NOT_ASKED = (Verdict.NOT_RUN, Verdict.UNSUPPORTED, Verdict.NOT_IMPLEMENTED)


class Exit(enum.IntEnum):
    """
    Exit codes of `meshmark`, the same for every command.

    good: what was asked holds. failed: something does not.
    inconclusive: it remains open, or nothing was asked.
    usage: what was asked for does not exist or contradicts itself.
    harness: the harness could not do its work.
    """

    GOOD = 0
    FAILED = 1
    INCONCLUSIVE = 2
    USAGE = 64
    HARNESS = 70


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One thing that a check saw, kept with its record.

    kind: what it is, in a word or two: "log", "capture", "ledger".
    text: the evidence as text, or its last part when it was long.
    data: the evidence as JSON, when it is not text.
    file: path inside the run folder of the whole of it, when `text` is only a part.
    """

    kind: str
    text: str = ""
    data: Any = None
    file: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Why a check did not pass: the phase it was in, what was expected and what was seen.

    rerun: the command line that runs this check again and keeps the cluster.
    """

    phase: str
    message: str
    expected: str = ""
    seen: str = ""
    rerun: str = ""


class CheckRecord(msgspec.Struct, kw_only=True):
    """
    What became of one check of the catalogue.

    value: the measured quantity in `unit`, with its `interval` (lower, upper) and sample size `n`.
    seconds: wall time of all tests of this check, fixtures included.
    phases: seconds spent in each phase, by name.
    reason: one line for verdicts that are no failure: why unsupported, not run, known to fail.
    """

    id: str
    level: Level
    verdict: Verdict
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    n: int | None = None
    seconds: float = 0.0
    phases: dict[str, float] = {}
    evidence: list[Evidence] = []
    title: str = ""
    feature: str = ""
    lane: str = ""
    reason: str = ""
    failure: Failure | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """
    A measured quantity that belongs to the run and to no check.

    target: what was aimed at, in `unit`. None: no target.
    met: whether the target was reached. None beside a target: the run could not tell.
    blocks: the values of single blocks in the order of measuring, when there were any.
    better: "lower" or "higher".
    """

    name: str
    value: float
    unit: str
    interval: tuple[float, float] | None = None
    n: int | None = None
    target: float | None = None
    met: bool | None = None
    blocks: list[float] = []
    better: str = "lower"


class MeshFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Which mesh was judged, and the features that it claims."""

    name: str
    version: str = ""
    features: list[str] = []


class ClusterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine ran the pods: embedded, kind or external."""

    engine: str


class Run(msgspec.Struct, kw_only=True):
    """
    One run of one suite against one mesh.

    started, finished: UTC, ISO 8601 with a trailing Z; `finished` is empty while it runs.
    complete: False until the last check has its record, so that a killed run says so.
    fingerprint: the machine, the software and the effective configuration, see
    `harness.record.fingerprint`; never secrets or names of people.
    """

    schema: int = SCHEMA
    id: str = ""
    suite: str
    mesh: MeshFacts
    cluster: ClusterFacts
    started: str
    finished: str = ""
    command: str = ""
    seed: int = 1
    fingerprint: dict[str, Any] = {}
    complete: bool = False
    checks: list[CheckRecord] = []
    figures: list[Figure] = []


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A planted defect of the reference mesh and the checks that caught it."""

    id: str
    defect: str
    killed_by: list[str] = []


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """
    A check that names a mutant and did not catch it.

    verdict: what it came to there, `error` when the run left no record of it; on the sound mesh
        when it did not even pass there.
    """

    check: str
    mutant: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.mutant} by {self.check} ({self.verdict.value})"


class KillMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which check catches which planted defect; good when `flawless`.

    checks: the mutants that each check caught, by check id.
    core_without_kill: core checks that have a test and caught none, also for not passing on the
        sound mesh.
    missed: what the catalogue says that a check catches, and it did not.
    """

    mutants: list[Mutant]
    checks: dict[str, list[str]]
    core_without_kill: list[str]
    missed: list[Missed] = []

    @property
    def alive(self) -> list[str]:
        """The mutants that nobody caught."""
        return [mutant.id for mutant in self.mutants if not mutant.killed_by]

    @property
    def flawless(self) -> bool:
        """Whether all were caught, by every check that has to, and by every core check one."""
        return not (self.alive or self.core_without_kill or self.missed)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of at least one verdict."""
    return min(verdicts, key=lambda verdict: verdict.badness)


def merged(parts: list[CheckRecord]) -> CheckRecord:
    """
    One record for all tests of one check, at least one.

    The worst test gives verdict, failure and reason, and the value when it measured one; times add
    up, evidence is kept from all.
    """
    lead = min(parts, key=lambda part: part.verdict.badness)
    measured = next((part for part in [lead, *parts] if part.value is not None), lead)
    phases: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.phases.items():
            phases[name] = round(phases.get(name, 0.0) + seconds, 4)
    return msgspec.structs.replace(
        lead,
        value=measured.value,
        unit=measured.unit,
        interval=measured.interval,
        n=measured.n,
        seconds=round(sum(part.seconds for part in parts), 3),
        phases=phases,
        evidence=[piece for part in parts for piece in part.evidence],
    )


def exit_code(run: Run, *, strict: bool = False) -> Exit:
    """
    The exit code that a run earns.

    strict: extended checks count like core ones.

    A failed core check weighs most, then harness errors and an incomplete run, then what stayed
    inconclusive: also a run in which no check was asked at all, as when the mesh claims none of
    them. Other checks never turn a run red. Figures decide in the perf suite only; elsewhere they
    are information.
    """
    counted = (Level.CORE, Level.EXTENDED) if strict else (Level.CORE,)
    core = {check.verdict for check in run.checks if check.level in counted}
    judged = [figure for figure in run.figures if run.suite == "perf" and figure.target is not None]
    if Verdict.FAIL in core or any(figure.met is False for figure in judged):
        return Exit.FAILED
    if Verdict.ERROR in core or not run.complete:
        return Exit.HARNESS
    open_figure = any(figure.met is None for figure in judged)
    asked = any(check.verdict not in _NOT_ASKED for check in run.checks)
    if Verdict.INCONCLUSIVE in core or open_figure or not asked:
        return Exit.INCONCLUSIVE
    return Exit.GOOD
