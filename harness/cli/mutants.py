"""
`meshmark run mutants`: whether the checks can fail at all.

Runs the suite once against the sound mesh, then once per planted defect, and writes which check
caught which defect. A check catches a defect when it passes on the sound mesh and fails on the
mutant. Every run is a process of its own, for a mutant may take its mesh down with it.
"""

from __future__ import annotations

import datetime as dt
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from harness.errors import MeshmarkError
from harness.plugin.options import Options, catalogue_of
from harness.record.folder import RunFolder, read_run
from harness.record.model import Exit, KillMatrix, Level, Mutant, Run, Verdict
from reports.write import write_reports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.record.catalogue import Catalogue

__all__ = ["kill_matrix", "run"]

_ALWAYS = "RT-01"
"""Runs against every mutant: a defect that no longer lets a request through is caught by it."""


def run(options: Options, *, every_check: bool) -> int:
    """
    Run all mutants, or the one of `options.mutant`, and write the kill matrix.

    every_check: run every check against every mutant, not only those that name it.
    """
    catalogue = catalogue_of(options)
    names = [options.mutant] if options.mutant else list(catalogue.mutants)
    folder = RunFolder.create(options.out, "mutants", options.mesh, dt.datetime.now(dt.UTC))
    click.echo(f"sound mesh first, then {len(names)} mutants; {folder.path}")
    sound = _run_one(options, folder.path / "mutants" / "none", None, options.selection)
    if sound is None:
        raise MeshmarkError("the run against the sound mesh left no record; see its lines above")
    runs: dict[str, Run] = {}
    for number, name in enumerate(names, start=1):
        click.echo(f"mutant {number}/{len(names)}: {name}: {catalogue.mutants[name].defect}")
        selection = "" if every_check else _selection(catalogue, name)
        found = _run_one(options, folder.path / "mutants" / name, name, selection)
        if found is not None:
            runs[name] = found
        matrix = kill_matrix(catalogue, sound, runs)
        _write(folder, sound, matrix, complete=number == len(names))
    return _tell(matrix, folder)


def kill_matrix(catalogue: Catalogue, sound: Run, runs: Mapping[str, Run]) -> KillMatrix:
    """
    Who caught what.

    sound: the run without a defect. runs: the run of each mutant by its id.
    """
    passed = {record.id: record for record in sound.checks if record.verdict is Verdict.PASS}
    killed_by = {
        name: [
            record.id
            for record in run.checks
            if record.verdict is Verdict.FAIL and record.id in passed
        ]
        for name, run in runs.items()
    }
    caught = {
        check_id: [name for name, killers in killed_by.items() if check_id in killers]
        for check_id in passed
    }
    core = [check_id for check_id, record in passed.items() if record.level is Level.CORE]
    return KillMatrix(
        mutants=[
            Mutant(id=name, defect=catalogue.mutants[name].defect, killed_by=killers)
            for name, killers in killed_by.items()
        ],
        checks=caught,
        core_without_kill=[check_id for check_id in core if not caught[check_id]],
    )


def _selection(catalogue: Catalogue, mutant: str) -> str:
    named = [entry.id for entry in catalogue if mutant in entry.mutants]
    return " or ".join(dict.fromkeys([*named, _ALWAYS]))


def _run_one(options: Options, run_dir: Path, mutant: str | None, selection: str) -> Run | None:
    """The run in a process of its own; None when it left no record."""
    one = msgspec.structs.replace(options, mutant=mutant, run_dir=run_dir, selection=selection)
    words = shlex.split(one.command())[1:]
    subprocess.run(
        [sys.executable, "-m", "harness.cli", *words, "--run-dir", str(run_dir)], check=False
    )
    try:
        return read_run(run_dir)
    except MeshmarkError as error:
        click.echo(f"no record of {mutant or 'the sound mesh'}: {error}", err=True)
        return None


def _write(folder: RunFolder, sound: Run, matrix: KillMatrix, *, complete: bool) -> None:
    """The run of the mutants: the records of the sound mesh, and the matrix beside them."""
    run = msgspec.structs.replace(
        sound, id=folder.path.name, suite="mutants", complete=complete and sound.complete
    )
    folder.write_run(run)
    folder.write_kill_matrix(matrix)
    write_reports(folder)


def _tell(matrix: KillMatrix, folder: RunFolder) -> int:
    alive = [mutant.id for mutant in matrix.mutants if not mutant.killed_by]
    report = folder.path / "report.html"
    click.echo(
        f"mutants: {len(matrix.mutants) - len(alive)} of {len(matrix.mutants)} caught"
        + (f"; not caught: {', '.join(alive)}" if alive else "")
        + (f"; core checks that caught none: {', '.join(matrix.core_without_kill)}"
           if matrix.core_without_kill else "")
        + f"; report: {report}"
    )  # fmt: skip
    return Exit.FAILED if alive or matrix.core_without_kill else Exit.GOOD
