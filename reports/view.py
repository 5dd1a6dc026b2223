"""
What a page says about one run, before any HTML: the sentence, the groups, the texts.

Pure functions of the run, so that the same run always gives the same page.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from harness.record.model import CheckRecord, Figure, KillMatrix, Level, Run, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AREAS",
    "MARKS",
    "WORDS",
    "Budget",
    "Group",
    "by_area",
    "by_verdict",
    "counts",
    "duration_text",
    "flat",
    "headline",
    "number",
    "quantity",
    "subline",
]

MARKS = {
    Verdict.FAIL: "✕",
    Verdict.ERROR: "!",
    Verdict.INCONCLUSIVE: "?",
    Verdict.KNOWN_FAIL: "~",
    Verdict.NOT_RUN: "○",
    Verdict.UNSUPPORTED: "\u2013",
    Verdict.PASS: "✓",
    Verdict.NOT_IMPLEMENTED: "·",
}
"""One shape per verdict, so that no reader depends on colour."""

WORDS = {
    Verdict.FAIL: "failed",
    Verdict.ERROR: "could not be asked",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.KNOWN_FAIL: "known to fail",
    Verdict.NOT_RUN: "not run",
    Verdict.UNSUPPORTED: "unsupported",
    Verdict.PASS: "passed",
    Verdict.NOT_IMPLEMENTED: "not implemented",
}

AREAS = {
    "TLS": "Transport security",
    "ID": "Identity",
    "AZ": "Authorization",
    "RT": "Routing",
    "SP": "Traffic splitting",
    "CN": "Canary",
    "RY": "Retries",
    "TO": "Timeouts",
    "OD": "Outlier ejection",
    "CB": "Circuit breaking",
    "RL": "Rate limits",
    "LB": "Balancing",
    "FI": "Fault injection",
    "PR": "Protocol fidelity",
    "LC": "Life cycle",
    "CP": "Control plane",
    "NF": "Network faults",
    "OB": "Observability",
    "PF": "Performance",
}
"""What the letters of a check's id stand for."""

_ASKED = (
    Verdict.PASS,
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.KNOWN_FAIL,
)
_NAMED = 6
"""How many ids a sentence names before it only counts."""


class Group(msgspec.Struct, frozen=True):
    """Records under one heading. `folded` groups start closed."""

    key: str
    title: str
    records: list[CheckRecord]
    folded: bool = False


class Budget:
    """How many characters of evidence a page may still take, so that it stays under its limit."""

    def __init__(self, characters: int) -> None:
        self._left = characters

    def take(self, text: str, most: int) -> str:
        """The last `most` characters of the text, or a note when the page is full."""
        shown = text if len(text) <= most else "… " + text[-most:]
        if len(shown) > self._left:
            return "(left out: the page is full; the run folder has it)"
        self._left -= len(shown)
        return shown


def counts(run: Run) -> list[tuple[Verdict, int]]:
    """How many checks came to each verdict, worst first, without zeros."""
    found = Counter(check.verdict for check in run.checks)
    return [(verdict, found[verdict]) for verdict in Verdict if found[verdict]]


def headline(run: Run, matrix: KillMatrix | None = None) -> str:
    """The run in one sentence; of a mutants run, what became of the planted defects."""
    begun = "" if run.complete else "The run ended early. "
    if matrix is not None:
        return begun + _matrix_sentence(matrix)
    core = [check for check in run.checks if check.level is Level.CORE and check.verdict in _ASKED]
    judged = [figure for figure in run.figures if figure.target is not None]
    asked_well = all(check.verdict is Verdict.PASS for check in core)
    missed = any(figure.met is False for figure in judged)
    if run.suite == "perf" and judged and (asked_well or missed):
        return begun + _figures_sentence(judged)
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        ids = [check.id for check in core if check.verdict is verdict]
        if ids:
            word = WORDS[verdict]
            named = _enumerated(ids)
            return f"{begun}{len(ids)} of {len(core)} core checks {word}: {named}."
    if not core:
        return begun + "No core check was asked."
    passed = sum(check.verdict is Verdict.PASS for check in core)
    if passed < len(core):
        known = [check.id for check in core if check.verdict is Verdict.KNOWN_FAIL]
        return f"{begun}{passed} core checks passed, {_enumerated(known)} failed as known."
    which = "the one core check" if passed == 1 else f"all {passed} core checks"
    return f"{begun}{which[0].upper()}{which[1:]} that ran passed."


def subline(run: Run) -> str:
    """What the sentence leaves out: the rest of the catalogue."""
    told = ", ".join(f"{number_of} {WORDS[verdict]}" for verdict, number_of in counts(run))
    if not run.finished:
        return f"Recorded until then: {told or 'nothing'}."
    return f"Of {len(run.checks)} checks in the catalogue: {told}." if told else ""


def _matrix_sentence(matrix: KillMatrix) -> str:
    total = len(matrix.mutants)
    if matrix.alive:
        caught = f"{total - len(matrix.alive)} of {total} planted defects were caught"
        told = f"{caught}, not {_enumerated(matrix.alive)}."
    else:
        told = f"All {total} planted defects were caught."
    if matrix.missed:
        told += f" Missed by checks that name them: {_enumerated(list(map(str, matrix.missed)))}."
    if matrix.core_without_kill:
        told += f" Core checks that caught none: {_enumerated(matrix.core_without_kill)}."
    return told


def _figures_sentence(judged: list[Figure]) -> str:
    missed = [figure for figure in judged if figure.met is False]
    open_ones = [figure for figure in judged if figure.met is None]
    if missed:
        told = "; ".join(_figure_told(figure) for figure in missed[:3])
        return f"{len(missed)} of {len(judged)} figures missed their targets: {told}."
    if open_ones:
        named = _enumerated([figure.name for figure in open_ones])
        return f"{len(open_ones)} of {len(judged)} figures could not be judged: {named}."
    return f"All {len(judged)} figures met their targets."


def _figure_told(figure: Figure) -> str:
    wanted = f"{number(figure.target)} {figure.unit}".strip() if figure.target is not None else ""
    return f"{figure.name} {number(figure.value)} {figure.unit} (target {wanted})"


def _enumerated(names: list[str]) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def by_verdict(records: Iterable[CheckRecord]) -> list[Group]:
    """The records by verdict, worst first; what says nothing about the mesh starts closed."""
    folded = (Verdict.NOT_IMPLEMENTED, Verdict.NOT_RUN)
    listed = list(records)
    groups = []
    for verdict in Verdict:
        found = [record for record in listed if record.verdict is verdict]
        if found:
            title = WORDS[verdict]
            groups.append(
                Group(verdict.value, title[0].upper() + title[1:], found, verdict in folded)
            )
    return groups


def by_area(records: Iterable[CheckRecord]) -> list[Group]:
    """The records by the letters of their ids, in the order of the catalogue."""
    found: dict[str, list[CheckRecord]] = {}
    for record in records:
        found.setdefault(record.id.partition("-")[0], []).append(record)
    return [Group(key, AREAS.get(key, key), listed) for key, listed in found.items()]


def number(value: float | None) -> str:
    """A number with at most four significant digits and no noise."""
    if value is None:
        return "\u2013"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.4g}"


def quantity(
    value: float | None, unit: str, interval: tuple[float, float] | None, n: int | None
) -> dict[str, str]:
    """A quantity as the table shows it; `value` is empty when there is none."""
    if value is None:
        return {"value": "", "interval": "", "n": ""}
    return {
        "value": f"{number(value)} {unit}".strip(),
        "interval": f"[{number(interval[0])}, {number(interval[1])}]" if interval else "",
        "n": f"n = {number(n)}" if n is not None else "",
    }


def duration_text(run: Run) -> str:
    """`7 min 12 s`, or nothing while the run goes on."""
    if not run.finished:
        return ""
    seconds = int((_moment(run.finished) - _moment(run.started)).total_seconds())
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def flat(fingerprint: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The fingerprint as `section / name` to text, in a fixed order."""
    found: dict[str, str] = {}
    for key, value in sorted(fingerprint.items()):
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key} / ")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
