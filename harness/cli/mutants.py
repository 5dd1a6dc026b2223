"""
`meshmark run mutants`: whether the checks can fail at all.

Runs the checks that name a planted defect, once against the sound mesh and then those of each
defect against the mesh that has it, RT-01 always among them, and writes which check caught which
defect. A check catches a defect when it passes on the sound mesh and fails on the mutant; each has
to catch all that it names, whatever other checks catch. Every run
is a process of its own with a cluster of its own, one after the other: a mutant may take its mesh
down with it, and a machine with two at once makes checks fail for want of time.
"""

from __future__ import annotations

import datetime as dt
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click
import msgspec

from harness.errors import MeshmarkError
from harness.plugin.options import Options, catalogue_of
from harness.record.folder import RunFolder, read_run
from harness.record.model import Exit, KillMatrix, Level, Missed, Mutant, Run, Verdict
from reports.write import write_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.record.catalogue import Catalogue, Lane
    from harness.record.model import CheckRecord

    Child = Callable[[Options, bool], Run | None]
    """Runs the suite as told, telling or in silence; None when that left no record."""

__all__ = ["kill_matrix", "run"]

_ALWAYS = "RT-01"
"""Runs against every mutant: a defect that no longer lets a request through is caught by it."""

_LONGEST_S = 900.0
"""A run against one mutant takes seconds; after this long it is given up, and counts as no kill."""

_ENDS_S = 60.0
"""How long a run that was told to end may take to clean up."""

_NOT_JUDGED = (Verdict.NOT_IMPLEMENTED, Verdict.UNSUPPORTED)


def run(options: Options, *, every_check: bool, child: Child | None = None) -> int:
    """
    Run all mutants, or the one of `options.mutant`, and write the kill matrix.

    every_check: run every check against every mutant, not only those that name it.
    child: makes one run; a process of its own unless told otherwise.

    Raises:
        MeshmarkError: the run against the sound mesh left no record.

    """
    child = child or _in_a_process
    catalogue = catalogue_of(options)
    folder = RunFolder.create(options.out, "mutants", options.mesh, dt.datetime.now(dt.UTC))
    wanted = [options.mutant] if options.mutant else list(catalogue.mutants)
    click.echo(f"the sound mesh first, then each mutant; {folder.path}")
    selection = options.selection or ("" if every_check else _selection(catalogue, wanted))
    sound = child(_one(options, folder, None, selection), True)
    if sound is None:
        raise MeshmarkError("the run against the sound mesh left no record; see its lines above")
    ran = {record.id for record in sound.checks if record.verdict is not Verdict.NOT_RUN}
    everything = every_check or bool(options.mutant)
    names = [name for name in wanted if everything or ran & set(_naming(catalogue, name))]
    part = bool(options.selection or options.mutant or options.lane)
    runs: dict[str, Run | None] = {}
    for number, name in enumerate(names, start=1):
        started_s = time.monotonic()
        among = [check_id for check_id in _naming(catalogue, name) if check_id in ran] or sorted(
            ran
        )
        selection = options.selection if every_check else _joined(among)
        lane = options.lane if every_check else _lane(catalogue, [_ALWAYS, *among])
        one = msgspec.structs.replace(_one(options, folder, name, selection), lane=lane)
        runs[name] = child(one, False)
        matrix = kill_matrix(catalogue, sound, runs, part=part)
        _write(folder, sound, matrix, complete=number == len(names))
        seconds = time.monotonic() - started_s
        told = _told(matrix)
        click.echo(f"[{number}/{len(names)}] {name:<26} {told}  {seconds:.0f} s")
    return _tell(kill_matrix(catalogue, sound, runs, part=part), folder)


def kill_matrix(
    catalogue: Catalogue, sound: Run, runs: Mapping[str, Run | None], *, part: bool = False
) -> KillMatrix:
    """
    Who caught what.

    sound: the run without a defect. runs: the run of each mutant by its id; None left no record.
    part: leave checks that were not run out of `core_without_kill` and `missed`. Otherwise every
    core check that has a test has to catch something, also one that names no mutant.
    """
    passed = {record.id for record in sound.checks if record.verdict is Verdict.PASS}
    killed_by = {
        name: [
            record.id
            for record in (run.checks if run else ())
            if record.verdict is Verdict.FAIL and record.id in passed
        ]
        for name, run in runs.items()
    }
    caught = {
        record.id: [name for name, killers in killed_by.items() if record.id in killers]
        for record in sound.checks
        if record.id in passed
    }
    left_out = (*_NOT_JUDGED, Verdict.NOT_RUN) if part else _NOT_JUDGED
    judged = [record for record in sound.checks if record.verdict not in left_out]
    core = [record.id for record in judged if record.level is Level.CORE]
    return KillMatrix(
        mutants=[
            Mutant(id=name, defect=catalogue.mutants[name].defect, killed_by=killers)
            for name, killers in killed_by.items()
        ],
        checks=caught,
        core_without_kill=[check_id for check_id in core if not caught.get(check_id)],
        missed=[
            Missed(check=record.id, mutant=name, verdict=_verdict_of(record, runs[name]))
            for name in runs
            for record in judged
            if record.id in _naming(catalogue, name) and record.id not in killed_by[name]
        ],
    )


def _verdict_of(sound: CheckRecord, run: Run | None) -> Verdict:
    """What a check came to on a mutant; on the sound mesh when it does not pass there."""
    if sound.verdict is not Verdict.PASS:
        return sound.verdict
    found = {record.id: record.verdict for record in run.checks} if run else {}
    return found.get(sound.id, Verdict.ERROR)


def _naming(catalogue: Catalogue, mutant: str) -> list[str]:
    """The checks that must catch a mutant."""
    return [entry.id for entry in catalogue if mutant in entry.mutants]


def _selection(catalogue: Catalogue, mutants: Iterable[str]) -> str:
    return _joined(check_id for mutant in mutants for check_id in _naming(catalogue, mutant))


def _joined(check_ids: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys([_ALWAYS, *check_ids]))


def _lane(catalogue: Catalogue, check_ids: Iterable[str]) -> Lane | None:
    """The lane of all these checks, which then need no second one; None when they differ."""
    lanes = {catalogue[check_id].lane for check_id in check_ids}
    return lanes.pop() if len(lanes) == 1 else None


def _one(options: Options, folder: RunFolder, mutant: str | None, selection: str) -> Options:
    run_dir = folder.path / "mutants" / (mutant or "none")
    return msgspec.structs.replace(options, mutant=mutant, run_dir=run_dir, selection=selection)


def _in_a_process(options: Options, aloud: bool) -> Run | None:
    """The run in a process of its own; in silence, what it says is kept beside its record."""
    run_dir = options.run_dir
    assert run_dir is not None
    words = shlex.split(options.command())[1:]
    words += ["--run-dir", str(run_dir), "--out", str(options.out)]
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "output.txt").open("wb") as output:
        to = None if aloud else output
        process = subprocess.Popen([sys.executable, "-m", "harness.cli", *words], stdout=to,
                                   stderr=to)  # fmt: skip
        _wait(process, None if aloud else _LONGEST_S)
    try:
        return read_run(run_dir)
    except MeshmarkError as error:
        click.echo(f"no record of {options.mutant or 'the sound mesh'}: {error}", err=True)
        return None


def _wait(process: subprocess.Popen[bytes], limit_s: float | None) -> None:
    """Wait for the end of a run, and end it when it is late or when we are ended."""
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        click.echo(f"given up after {limit_s:.0f} s", err=True)
    finally:
        process.terminate()
        try:
            process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write(folder: RunFolder, sound: Run, matrix: KillMatrix, *, complete: bool) -> None:
    """The run of the mutants: the records of the sound mesh, and the matrix beside them."""
    run = msgspec.structs.replace(
        sound, id=folder.path.name, suite="mutants", complete=complete and sound.complete
    )
    folder.write_run(run)
    folder.write_kill_matrix(matrix)
    write_reports(folder)


def _told(matrix: KillMatrix) -> str:
    """Who caught the last mutant, and what became of those that had to and did not."""
    mutant = matrix.mutants[-1]
    missed = [
        f"{pair.check} {pair.verdict.value}" for pair in matrix.missed if pair.mutant == mutant.id
    ]
    told = f"✓ caught by {', '.join(mutant.killed_by)}" if mutant.killed_by else "✗ not caught"
    return f"{told}; not by {', '.join(missed)}" if missed else told


def _tell(matrix: KillMatrix, folder: RunFolder) -> int:
    total = len(matrix.mutants)
    told = [f"mutants: {total - len(matrix.alive)} of {total} caught"]
    if matrix.alive:
        told.append(f"not caught: {', '.join(matrix.alive)}")
    if matrix.missed:
        told.append(f"missed: {', '.join(map(str, matrix.missed))}")
    if matrix.core_without_kill:
        told.append(f"core checks that caught none: {', '.join(matrix.core_without_kill)}")
    told.append(f"report: {folder.path / 'report.html'}")
    click.echo("; ".join(told))
    return Exit.GOOD if matrix.flawless else Exit.FAILED
