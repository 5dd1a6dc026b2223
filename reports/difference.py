"""
What changed between runs: the comparison before any HTML.

The first run is the base; every other one is told relative to it. A verdict is worse when something
that held no longer does, and better when it holds again; a check that one run could not decide is
neither. A figure is worse only when its interval says so.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from harness.record.model import CheckRecord, Figure, Run, Verdict
from harness.stats.blocks import Change, Estimate, judge, shift
from reports.view import flat, number

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CheckRow",
    "Differing",
    "FigureRow",
    "Kind",
    "check_rows",
    "conditions",
    "figure_rows",
    "sentence",
]

_PRACTICAL = 0.05
"""A figure that moved by less than this share of its base has not changed for anyone."""
_ASKED = (Verdict.PASS, Verdict.FAIL, Verdict.KNOWN_FAIL)
_OF_THE_MOMENT = ("machine / load_1min",)
_MATTERS = ("machine / ", "configuration / ")


class Kind(enum.StrEnum):
    """What became of a row, the most urgent first."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    INCONCLUSIVE = "inconclusive"
    SAME = "same"


_ORDER = {kind: place for place, kind in enumerate(Kind)}


class CheckRow(msgspec.Struct, frozen=True):
    """One check in every run, base first; None where a run does not have it."""

    id: str
    title: str
    level: str
    records: list[CheckRecord | None]
    kind: Kind


class FigureRow(msgspec.Struct, frozen=True):
    """One figure in every run, and of each but the base how far it moved, as text."""

    name: str
    unit: str
    figures: list[Figure | None]
    moves: list[str]
    kind: Kind


class Differing(msgspec.Struct, frozen=True):
    """A condition that is not the same in all runs; one that `matters` changes numbers."""

    name: str
    values: list[str]
    matters: bool


def check_rows(runs: Sequence[Run]) -> list[CheckRow]:
    """Every check that any run has, the worst changes first, else in the order of the catalogue."""
    tables = [{record.id: record for record in run.checks} for run in runs]
    ids = dict.fromkeys(check_id for table in tables for check_id in table)
    rows = []
    for check_id in ids:
        records = [table.get(check_id) for table in tables]
        known = next(record for record in records if record is not None)
        kind = min((_changed(records[0], other) for other in records[1:]), key=_ORDER.__getitem__)
        rows.append(CheckRow(check_id, known.title, known.level.value, records, kind))
    return sorted(rows, key=lambda row: _ORDER[row.kind])


def figure_rows(runs: Sequence[Run]) -> list[FigureRow]:
    """Every figure that any run has, the worst changes first."""
    tables = [{figure.name: figure for figure in run.figures} for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = []
    for name in names:
        figures = [table.get(name) for table in tables]
        known = next(figure for figure in figures if figure is not None)
        moves = [_moved(figures[0], other) for other in figures[1:]]
        kind = min((kind for kind, _ in moves), key=_ORDER.__getitem__)
        rows.append(FigureRow(name, known.unit, figures, [told for _, told in moves], kind))
    return sorted(rows, key=lambda row: _ORDER[row.kind])


def conditions(runs: Sequence[Run]) -> list[Differing]:
    """What differs in the fingerprints, what matters first."""
    tables = [
        flat(run.fingerprint)
        | {"mesh": f"{run.mesh.name} {run.mesh.version}".strip(), "cluster": run.cluster.engine}
        | {"complete": "yes" if run.complete else "no"}
        for run in runs
    ]
    names = dict.fromkeys(name for table in tables for name in table)
    found = []
    for name in names:
        values = [table.get(name, "absent") for table in tables]
        if len(set(values)) > 1 and name not in _OF_THE_MOMENT:
            matters = name.startswith(_MATTERS) or name in ("cluster", "complete")
            found.append(Differing(name, values, matters))
    return sorted(found, key=lambda one: (not one.matters, one.name))


def sentence(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """The comparison in one sentence; with more than two runs, each against the first."""
    if len(runs) > 2:
        told = [
            _short(label, _compared([runs[0], run]))
            for label, run in zip(labels, runs, strict=True)
        ][1:]
        return f"Against {labels[0]}: {'; '.join(told)}."
    compared = _compared(runs)
    worse = [row for row in compared if row.kind is Kind.WORSE]
    better = [row for row in compared if row.kind is Kind.BETTER]
    rest = "".join(
        f", {kind.value} on {count}"
        for kind in (Kind.CHANGED, Kind.SAME, Kind.INCONCLUSIVE)
        if (count := sum(row.kind is kind for row in compared))
    )
    if worse:
        first = f"{labels[1]} is worse than {labels[0]} on {len(worse)} of {len(compared)}"
        return f"{first}: {_named(worse)}; better on {len(better)}{rest}."
    if better:
        first = f"{labels[1]} is better than {labels[0]} on {len(better)} of {len(compared)}"
        return f"{first}: {_named(better)}; worse on none{rest}."
    first = f"{labels[1]} is neither worse nor better than {labels[0]}"
    return f"{first}: {len(compared)} compared{rest}."


def _compared(runs: Sequence[Run]) -> list[CheckRow | FigureRow]:
    """The rows that are a result; a check that no run asked is none."""
    rows: list[CheckRow | FigureRow] = [*check_rows(runs), *figure_rows(runs)]
    return [row for row in rows if row.kind is not Kind.SAME or _is_told(row)]


def _short(label: str, compared: Sequence[CheckRow | FigureRow]) -> str:
    worse = [row for row in compared if row.kind is Kind.WORSE]
    better = [row for row in compared if row.kind is Kind.BETTER]
    told = f"{label} is worse on {len(worse)}" + (f" ({_named(worse)})" if worse else "")
    return f"{told} and better on {len(better)} of {len(compared)}"


def _is_told(row: CheckRow | FigureRow) -> bool:
    """Checks that no run asked are no result that could be the same."""
    if isinstance(row, FigureRow):
        return True
    return any(record is not None and record.verdict in _ASKED for record in row.records)


def _named(rows: Sequence[CheckRow | FigureRow]) -> str:
    names = []
    for row in rows[:3]:
        if isinstance(row, CheckRow):
            names.append(row.id)
        else:
            move = next((move for move in row.moves if move), "")
            names.append(f"{row.name} {move}".strip())
    return ", ".join(names) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def _changed(base: CheckRecord | None, other: CheckRecord | None) -> Kind:
    before = base.verdict if base else Verdict.NOT_IMPLEMENTED
    after = other.verdict if other else Verdict.NOT_IMPLEMENTED
    if before is after:
        return Kind.CHANGED if _value_moved(base, other) else Kind.SAME
    if after is Verdict.FAIL:
        return Kind.WORSE
    if after is Verdict.PASS and before in (Verdict.FAIL, Verdict.KNOWN_FAIL):
        return Kind.BETTER
    return Kind.CHANGED


def _value_moved(base: CheckRecord | None, other: CheckRecord | None) -> bool:
    """Whether the intervals of what both measured have nothing in common."""
    if base is None or other is None or base.interval is None or other.interval is None:
        return False
    apart = base.interval[1] < other.interval[0] or other.interval[1] < base.interval[0]
    return apart and base.unit == other.unit


def _moved(base: Figure | None, other: Figure | None) -> tuple[Kind, str]:
    """Kind and text of a figure's move; the text has the absolute and the relative change."""
    if base is None or other is None:
        return Kind.CHANGED, "only in one run"
    if base.unit != other.unit:
        return Kind.CHANGED, f"{base.unit} became {other.unit}"
    practical = abs(base.value) * _PRACTICAL
    moved = other.value - base.value
    bounds: tuple[float, float] | None = None
    if len(base.blocks) > 1 and len(other.blocks) > 1:
        estimate = shift(base.blocks, other.blocks)
        moved, bounds = estimate.value, estimate.interval
    elif base.interval and other.interval:
        bounds = (other.interval[0] - base.interval[1], other.interval[1] - base.interval[0])
    relative = f" ({moved / base.value:+.0%})" if base.value else ""
    told = f"{'+' if moved >= 0 else ''}{number(moved)} {base.unit}".strip() + relative
    if bounds is None:
        same = abs(moved) <= practical
        return (Kind.SAME if same else Kind.INCONCLUSIVE), told
    found = judge(
        Estimate(moved, bounds, len(base.blocks)),
        practical=practical,
        noise=0.0,
        lower_is_better=base.better == "lower",
    )
    told += f" [{number(bounds[0])}, {number(bounds[1])}]"
    return {change: Kind(change.value) for change in Change}[found], told
