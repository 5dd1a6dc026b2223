"""`meshmark report`: one run as a page, as JUnit, or as a ConformanceReport."""

from __future__ import annotations

from pathlib import Path

import click

from harness.record.find import find_run
from harness.record.folder import RunFolder
from reports.write import write_reports

__all__ = ["command"]


@click.command("report")
@click.argument("run", default="latest")
@click.option(
    "--out", default="out", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Where run folders are.",
)  # fmt: skip
def command(run: str, out: Path) -> None:
    """
    Render RUN (a folder, an id, or `latest`) again, into its folder.

    Writes report.html, junit.xml and conformance-report.yaml; the same run gives the same bytes.
    """
    folder = RunFolder(find_run(run, out, Path.cwd()))
    click.echo(write_reports(folder))
