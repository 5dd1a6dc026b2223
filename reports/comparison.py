"""The page that puts runs side by side: one HTML file that needs no network and no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from reports import charts, difference, view
from reports.page import environment, shared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.record.histogram import Latencies
    from harness.record.model import Run

__all__ = ["comparison_page", "labels_of"]


def comparison_page(runs: Sequence[Run], histograms: Sequence[Mapping[str, Latencies]]) -> str:
    """
    The page; the same text for the same input. The first of at least two runs is the base.

    histograms: those of each run, in the same order.
    """
    labels = labels_of(runs)
    checks, figures = difference.check_rows(runs), difference.figure_rows(runs)
    changed = [row for row in checks if row.kind is not difference.Kind.SAME]
    same = [row for row in checks if row.kind is difference.Kind.SAME]
    rows: list[difference.CheckRow | difference.FigureRow] = [*changed, *figures]
    return environment().get_template("compare.html").render(
        **shared(),
        runs=list(zip(labels, runs, strict=True)),
        labels=labels,
        title=f"{' and '.join(labels)}",
        headline=difference.sentence(runs, labels),
        headlines=[view.headline(run) for run in runs],
        worse=any(row.kind is difference.Kind.WORSE for row in rows),
        changed=changed,
        same=same,
        figures=figures,
        curves=_curves(labels, histograms),
        differing=difference.conditions(runs),
    )  # fmt: skip


def labels_of(runs: Sequence[Run]) -> list[str]:
    """A letter for each run, with mesh and version, or engine, where those tell the runs apart."""
    letters = [chr(ord("A") + place) for place in range(len(runs))]
    for names in (
        [f"{run.mesh.name} {run.mesh.version}".strip() for run in runs],
        [run.cluster.engine for run in runs],
    ):
        if len(set(names)) == len(names):
            return [f"{letter} ({name})" for letter, name in zip(letters, names, strict=True)]
    return letters


def _curves(
    labels: Sequence[str], histograms: Sequence[Mapping[str, Latencies]]
) -> dict[str, Markup]:
    """One chart per histogram that all runs have, with a line per run."""
    common = sorted(set.intersection(*(set(one) for one in histograms))) if histograms else []
    return {
        name: Markup(  # noqa: S704 - made by us, escaped
            charts.percentile_curves(
                {label: one[name] for label, one in zip(labels, histograms, strict=True)}
            )
        )
        for name in common
    }
