"""
Keeping: what happens in the process that the user started.

Takes the parts that the tests send, writes each check's record to the run folder as soon as its
last test has ended, tells it in the terminal, and at the end accounts for every check of the
catalogue. A killed run leaves what it had, marked incomplete.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.errors import MeshmarkError
from harness.plugin.durations import of_checks
from harness.plugin.judging import Collected, Judge, Part, part_of
from harness.plugin.options import Options, known_fails_of, suites_folder
from harness.plugin.telling import Teller
from harness.record.fingerprint import fingerprint
from harness.record.folder import RunFolder
from harness.record.knownfail import apply_known_fails
from harness.record.model import (
    CheckRecord,
    ClusterFacts,
    Exit,
    MeshFacts,
    Run,
    Verdict,
    exit_code,
    merged,
)
from reports.write import write_reports

if TYPE_CHECKING:
    from harness.plugin.context import Facts, RunContext
    from harness.record.catalogue import Catalogue, Entry

__all__ = ["Keeper"]

_ENDED_BY_ITSELF = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class Keeper:
    """Hooks of the process that keeps the run folder."""

    def __init__(
        self, config: pytest.Config, options: Options, catalogue: Catalogue, context: RunContext
    ) -> None:
        self._config = config
        self._options = options
        self._catalogue = catalogue
        self._context = context
        self._known_fails = known_fails_of(options, catalogue)
        self._folder: RunFolder | None = None
        self._run: Run
        self._parts: dict[str, list[CheckRecord]] = {}
        self._collected = Collected()
        self._stray_failures = 0
        self._given_up = False
        self._report: Path | None = None
        self._hints: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Open the run folder."""
        if self._config.option.collectonly:
            return
        try:
            self._open()
        except MeshmarkError as error:
            self._folder = None
            # So early pytest says it by itself; the terminal would say it again.
            self._config.pluginmanager.unregister(name="terminalreporter")
            pytest.exit(str(error), returncode=error.exit_code)

    @functools.cached_property
    def _teller(self) -> Teller:
        watched = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return Teller(self._config.get_terminal_writer(), alive=watched)

    def _open(self) -> None:
        options, now = self._options, dt.datetime.now(dt.UTC)
        if options.run_dir is not None:
            folder = RunFolder(options.run_dir)
        else:
            folder = RunFolder.create(options.out, options.suite, options.mesh, now)
        self._context.run_dir = folder.path
        self._run = Run(
            id=folder.path.name,
            suite=options.suite,
            mesh=MeshFacts(name=options.mesh),
            cluster=ClusterFacts(engine=options.engine),
            started=_utc(now),
            command=options.command(),
            seed=options.seed,
            fingerprint=fingerprint(_configuration(options), {}, suites_folder()),
        )
        self._folder = folder
        self._folder.write_run(self._run)

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """Leave the telling of checks to `Teller`: no dots, no words."""
        return ("", "", "") if "check" in getattr(report, "keywords", {}) else None

    def pytest_runtest_logstart(self, location: tuple[str, int | None, str]) -> None:
        """Say which test runs."""
        if self._folder is not None:
            self._teller.running(location[2])

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's part; write and tell the check's record with its last one."""
        part = part_of(report)
        if part is not None:
            self._take(part)
        elif report.failed and "check" not in report.keywords:
            self._stray_failures += 1

    def _take(self, part: Part) -> None:
        if part.facts is not None:
            self._learn(part.facts)
        self._run.figures.extend(part.figures)
        self._hints.extend(part.hints)
        parts = self._parts.setdefault(part.record.id, [])
        parts.append(part.record)
        if len(parts) == part.tests:
            self._teller.check(self._record(merged(parts)), part.checks)
            self._write()

    def _record(self, record: CheckRecord) -> CheckRecord:
        """Add the final record of a check to the run."""
        today = dt.datetime.now(dt.UTC).date()
        record = apply_known_fails(record, self._known_fails, self._run.mesh.name, today)
        self._run.checks.append(record)
        if self._folder is not None:
            try:
                record.evidence = [
                    self._folder.keep_evidence(record.id, number, evidence)
                    for number, evidence in enumerate(record.evidence, start=1)
                ]
            except MeshmarkError as error:
                self._give_up(error)
        return record

    def _learn(self, facts: Facts) -> None:
        run = self._run
        run.mesh = MeshFacts(
            name=run.mesh.name, version=facts.mesh_version, features=facts.features
        )
        run.cluster = ClusterFacts(engine=facts.engine or run.cluster.engine)
        binaries = {name: Path(path) for name, path in facts.binaries.items()}
        configuration = _configuration(self._options) | facts.configuration
        run.fingerprint = fingerprint(configuration, binaries, suites_folder())

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config) -> None:
        """Keep what pytest-xdist says of its nodes out of what we say of checks."""
        reporter: Any = config.pluginmanager.get_plugin("terminaldistreporter")
        if reporter is not None:
            reporter.write_line = reporter.rewrite = lambda *_, **__: None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist where the run folder is."""
        node.workerinput["meshmark_run_dir"] = str(self._context.run_dir)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of pytest-xdist collected."""
        sent = getattr(node, "workeroutput", {}).get("meshmark")
        if sent is not None:
            self._collect(msgspec.convert(sent, Collected))

    def _collect(self, collected: Collected) -> None:
        self._collected.with_test += collected.with_test
        self._collected.left_out |= collected.left_out

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Account for the rest of the catalogue, render the reports, and set the exit code."""
        if self._folder is None:
            return
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            self._folder.discard()
            self._folder = None
            return
        judge = self._config.pluginmanager.get_plugin("meshmark-judge")
        if isinstance(judge, Judge):
            self._collect(judge.collected)
        stopped = bool(session.shouldstop or session.shouldfail)
        known = bool(self._collected.with_test)  # not so when every test process died
        self._run.complete = exitstatus in _ENDED_BY_ITSELF and not stopped and known
        self._run.finished = _utc(dt.datetime.now(dt.UTC))
        self._account_for_the_rest()
        if self._run.complete and not self._options.selection and self._options.lane is None:
            self._run.figures += of_checks(self._run)
        self._write()
        if not self._given_up:
            try:
                self._report = write_reports(self._folder)
            except MeshmarkError as error:
                self._teller.line(f"no report: {error}")
        if exitstatus in (*_ENDED_BY_ITSELF, pytest.ExitCode.INTERRUPTED):
            code = exit_code(self._run, strict=self._options.strict)
            if self._stray_failures and code is Exit.GOOD:
                code = Exit.HARNESS
            session.exitstatus = code

    def _account_for_the_rest(self) -> None:
        known = bool(self._collected.with_test)
        done = {record.id for record in self._run.checks}
        for entry in self._catalogue:
            if entry.id in done:
                continue
            if known and entry.id not in self._collected.with_test:
                self._run.checks.append(_absent(entry, Verdict.NOT_IMPLEMENTED, "has no test yet"))
                continue
            left_out = self._collected.left_out.get(entry.id)
            if left_out is None and self._run.complete:
                left = _absent(entry, Verdict.ERROR, "the process that ran its test ended")
            else:
                left = _absent(entry, Verdict.NOT_RUN, left_out or "the run ended before it")
            self._record(merged([*self._parts.get(entry.id, []), left]))
        place = {entry.id: number for number, entry in enumerate(self._catalogue)}
        self._run.checks.sort(key=lambda record: place[record.id])

    def _write(self) -> None:
        if self._folder is not None:
            try:
                self._folder.write_run(self._run)
            except MeshmarkError as error:
                self._give_up(error)

    def _give_up(self, error: MeshmarkError) -> None:
        """End the run because it cannot be kept; said once, though more cannot be written then."""
        if not self._given_up:
            self._given_up = True
            pytest.exit(str(error), returncode=error.exit_code)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Say the last line, after everything that pytest says."""
        if self._folder is not None:
            for hint in self._hints:
                self._teller.line(hint)
            self._teller.last(self._run, _short(self._report, self._options.out))


def _absent(entry: Entry, verdict: Verdict, reason: str) -> CheckRecord:
    return CheckRecord(
        id=entry.id,
        level=entry.level,
        verdict=verdict,
        title=entry.title,
        feature=entry.feature,
        lane=entry.lane.value,
        reason=reason,
    )


def _configuration(options: Options) -> dict[str, Any]:
    """The options that change what is measured; not where the run is kept."""
    return {
        "lane": options.lane.value if options.lane else "all",
        "long": options.long,
        "mutant": options.mutant or "none",
        "previous": options.previous,
        "proxy binary": options.proxy_binary.name if options.proxy_binary else "own",
    }


def _utc(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _short(report: Path | None, out: Path) -> Path | None:
    """The path to show: by `latest` where that leads there, relative where that is shorter."""
    if report is None:
        return None
    latest = out / "latest" / report.name
    if latest.exists() and latest.samefile(report):
        report = latest
    here = Path.cwd()
    return report.relative_to(here) if report.is_relative_to(here) else report
