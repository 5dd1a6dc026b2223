"""`meshmark compare`: runs side by side in one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import EnvironmentLacks, UsageError
from harness.record.find import find_run
from harness.record.folder import give_to_caller, make_folder, read_run
from reports.comparison import comparison_page
from reports.difference import Kind, check_rows, figure_rows
from reports.write import read_histograms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.record.model import Run

__all__ = ["command"]


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Compare what cannot be compared all the same.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The page.")
@click.option(
    "--out", default="out", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Where run folders are.",
)  # fmt: skip
def command(runs: tuple[str, ...], force: bool, output: Path | None, out: Path) -> int:
    """
    Put RUNS (folders, ids or `latest`) side by side; the first is the base.

    Writes out/compare.html. The exit code is 1 when a core check or a figure got worse. Checks of
    different cluster engines can be compared, and figures of the perf suite cannot.
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; `meshmark report` renders one")
    folders = [find_run(run, out, Path.cwd()) for run in runs]
    read = [read_run(folder) for folder in folders]
    if not force:
        _refuse_strangers(read)
    page = comparison_page(read, [read_histograms(folder) for folder in folders])
    target = output or out / "compare.html"
    try:
        make_folder(target.parent)
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EnvironmentLacks(f"cannot write {target}: {error.strerror}") from error
    give_to_caller(target)
    click.echo(target)
    worse = any(row.kind is Kind.WORSE and row.level == "core" for row in check_rows(read))
    return int(worse or any(row.kind is Kind.WORSE for row in figure_rows(read)))


def _refuse_strangers(runs: Sequence[Run]) -> None:
    suites = {run.suite for run in runs}
    engines = {run.cluster.engine for run in runs}
    for name, values in (
        ("suite", suites),
        ("cluster engine", engines if "perf" in suites else set[str]()),
    ):
        if len(values) > 1:
            raise UsageError(
                f"these runs have different {name}s: {', '.join(sorted(values))}; "
                "--force compares them all the same, and the page says so"
            )
