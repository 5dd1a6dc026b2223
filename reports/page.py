"""The page of one run: one HTML file that needs no network and no script."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import msgspec
from markupsafe import Markup, escape

from harness.record.model import CheckRecord, Evidence, KillMatrix, Run, Verdict, exit_code
from reports import charts, view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.record.histogram import Latencies

__all__ = ["environment", "fingerprint_sections", "run_page", "shared"]

_EVIDENCE_CHARACTERS = 520_000
"""For all evidence together: half of the megabyte that a page may have."""
_PIECE = {Verdict.PASS: 600}
_PIECE_OF_OTHERS = 4_000


class _Piece(msgspec.Struct, frozen=True):
    """One piece of evidence as shown."""

    kind: str
    text: str
    file: str


def run_page(run: Run, matrix: KillMatrix | None, histograms: Mapping[str, Latencies]) -> str:
    """
    The page; the same text for the same input.

    histograms: latency histograms of the run by name, drawn as percentile curves.
    """
    budget = view.Budget(_EVIDENCE_CHARACTERS)
    trouble = [
        record
        for record in sorted(run.checks, key=lambda record: record.verdict.badness)
        if record.failure is not None
    ]
    pieces = {
        record.id: [_shown(piece, record, budget) for piece in record.evidence]
        for record in sorted(run.checks, key=lambda record: record.verdict.badness)
    }
    return environment().get_template("run.html").render(
        **shared(),
        run=run,
        title=f"{run.mesh.name} {run.mesh.version} {run.suite}",
        state=_state(run, matrix),
        headline=view.headline(run, matrix),
        subline=view.subline(run),
        counts=view.counts(run),
        duration=view.duration_text(run),
        trouble=trouble,
        pieces=pieces,
        groups=view.by_verdict(run.checks),
        areas=view.by_area(run.checks),
        figures=run.figures,
        strips={
            figure.name: Markup(charts.block_strip(figure))  # noqa: S704 - made by us, escaped
            for figure in run.figures
            if len(figure.blocks) > 1
        },
        curve=Markup(charts.percentile_curves(histograms)) if histograms else "",  # noqa: S704
        matrix=matrix,
        fingerprint=fingerprint_sections(run),
    )  # fmt: skip


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, strict about names and escaping everything."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["whole_ids"] = _whole_ids
    return templates


def shared() -> dict[str, Any]:
    """What every template uses."""
    style = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    return {
        "style": Markup(style),  # noqa: S704 - a file of this package
        "MARKS": view.MARKS,
        "WORDS": view.WORDS,
        "AREAS": view.AREAS,
        "number": view.number,
        "quantity": view.quantity,
    }


def fingerprint_sections(run: Run) -> dict[str, dict[str, str]]:
    """The fingerprint by section, each value as text."""
    sections: dict[str, dict[str, str]] = {}
    for name, value in run.fingerprint.items():
        sections[name] = view.flat(value) if isinstance(value, dict) else {name: str(value)}
    return sections


def _whole_ids(text: str) -> Markup:
    """The text with the ids of checks kept on one line each."""
    return Markup(  # noqa: S704 - escaped before anything is added
        re.sub(r"[A-Z]{2,3}-\d+", r'<span class="whole">\g<0></span>', str(escape(text)))
    )


def _state(run: Run, matrix: KillMatrix | None) -> str:
    if matrix is not None:
        return "pass" if matrix.flawless else "fail"
    return {0: "pass", 1: "fail", 2: "inconclusive"}.get(int(exit_code(run)), "error")


def _shown(piece: Evidence, record: CheckRecord, budget: view.Budget) -> _Piece:
    text = piece.text or json.dumps(piece.data, indent=1, sort_keys=True, ensure_ascii=False)
    most = _PIECE.get(record.verdict, _PIECE_OF_OTHERS)
    return _Piece(piece.kind, budget.take(text, most), piece.file)
