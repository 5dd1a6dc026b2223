"""Writing every report of a run into its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.record.folder import read_kill_matrix, read_run
from harness.record.histogram import Latencies
from reports.conformance_report import conformance_report
from reports.junit import junit_xml
from reports.page import run_page

if TYPE_CHECKING:
    from pathlib import Path

    from harness.record.folder import RunFolder

__all__ = ["read_histograms", "write_reports"]


def write_reports(folder: RunFolder) -> Path:
    """
    Render what is in the folder and return the path of the page.

    Writes `report.html`, `junit.xml` and, for a conformance run, `conformance-report.yaml`.

    Raises:
        UsageError: the folder holds no run of a known schema.
        EnvironmentLacks: it cannot be written.

    """
    run = read_run(folder.path)
    folder.write("junit.xml", junit_xml(run))
    if run.suite == "conformance":
        folder.write("conformance-report.yaml", conformance_report(run).encode())
    page = run_page(run, read_kill_matrix(folder.path), read_histograms(folder.path))
    return folder.write("report.html", page.encode())


def read_histograms(folder: Path) -> dict[str, Latencies]:
    """The latency histograms of a run by name, in the order of their names."""
    return {
        path.stem: Latencies.decoded(path.read_bytes())
        for path in sorted((folder / "histograms").glob("*.hdr"))
    }
