"""
The folder of one run: `run.json`, histograms, logs, JUnit, the report.

`run.json` is replaced as a whole after every record, by writing beside it and renaming: a run that
is killed leaves the last complete state, marked incomplete, and a full disk loses only what came
after. Under sudo everything belongs to the user who called it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import EnvironmentLacks, UsageError
from harness.record.model import SCHEMA, Evidence, KillMatrix, Run

if TYPE_CHECKING:
    import datetime as dt

    from harness.record.histogram import Latencies

__all__ = ["RunFolder", "give_to_caller", "make_folder", "read_kill_matrix", "read_run"]

_INLINE_BYTES = 4_000
"""Evidence longer than this goes to a file of its own; the record keeps its last part."""


class RunFolder:
    """Writes one run folder. Every method leaves a readable folder behind, also when it raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for part in ("histograms", "logs"):
            make_folder(path / part)

    @classmethod
    def create(cls, out: Path, suite: str, mesh: str, now: dt.datetime) -> RunFolder:
        """A new folder `out/runs/<utc>-<suite>-<mesh>-<id>`, and `out/latest` pointing at it."""
        name = f"{now:%Y%m%dT%H%M%SZ}-{suite}-{mesh}-{secrets.token_hex(2)}"
        folder = cls(out / "runs" / name)
        latest = out / "latest"
        beside = out / f".latest-{name}"
        try:
            beside.symlink_to(Path("runs") / name)
            beside.replace(latest)
        except OSError as error:
            raise _cannot_write(latest, error) from error
        give_to_caller(latest)
        return folder

    def discard(self) -> None:
        """Remove the folder of a run that never ran; `latest` goes back to the newest before it."""
        shutil.rmtree(self.path, ignore_errors=True)
        latest = self.path.parents[1] / "latest"
        if latest.is_symlink() and not latest.exists():
            latest.unlink()
            others = sorted(path.name for path in self.path.parent.iterdir())
            if others:
                latest.symlink_to(Path("runs") / others[-1])
                give_to_caller(latest)

    def write_run(self, run: Run) -> None:
        """Replace `run.json`."""
        self.write("run.json", msgspec.json.format(msgspec.json.encode(run), indent=1))

    def write_kill_matrix(self, matrix: KillMatrix) -> None:
        """Replace `kill-matrix.json`."""
        self.write("kill-matrix.json", msgspec.json.format(msgspec.json.encode(matrix), indent=1))

    def write_histogram(self, name: str, latencies: Latencies) -> None:
        """Keep a latency histogram as `histograms/<name>.hdr`, in HdrHistogram's V2 base64 form."""
        self.write(f"histograms/{name}.hdr", latencies.encoded())

    def keep_evidence(self, check_id: str, number: int, evidence: Evidence) -> Evidence:
        """The evidence as the record should hold it: long text moves to a file under `logs`."""
        if len(evidence.text) <= _INLINE_BYTES:
            return evidence
        name = f"logs/{check_id}-{number:02d}-{_slug(evidence.kind)}.txt"
        self.write(name, evidence.text.encode())
        return msgspec.structs.replace(evidence, text=evidence.text[-_INLINE_BYTES:], file=name)

    def write(self, name: str, content: bytes) -> Path:
        """
        Write a file of the folder atomically; `name` is a path inside it.

        Raises:
            EnvironmentLacks: the disk is full or the folder not writable.

        """
        target = self.path / name
        beside = target.with_name(f".{target.name}.new")
        make_folder(target.parent)
        try:
            beside.write_bytes(content)
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _cannot_write(target, error) from error
        give_to_caller(target)
        return target


def read_run(folder: Path) -> Run:
    """
    The run in a folder.

    Raises:
        UsageError: there is no `run.json`, it is not valid, or its schema is another one.

    """
    raw = _read(folder / "run.json")
    _check_schema(folder / "run.json", raw)
    try:
        return msgspec.json.decode(raw, type=Run)
    except msgspec.ValidationError as error:
        raise UsageError(f"{folder / 'run.json'}: {error}") from error


def read_kill_matrix(folder: Path) -> KillMatrix | None:
    """The kill matrix of a mutants run, or None when the folder has none."""
    path = folder / "kill-matrix.json"
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(_read(path), type=KillMatrix)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: {error}") from error


def make_folder(path: Path) -> None:
    """
    Make a folder and what is missing above it, all of it the caller's under sudo.

    Raises:
        EnvironmentLacks: it cannot be made.

    """
    missing = [one for one in (path, *path.parents) if not one.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    for one in missing:
        give_to_caller(one)


def give_to_caller(path: Path) -> None:
    """Under sudo, hand a file, folder or link to the user who called sudo; otherwise nothing."""
    if os.geteuid() == 0 and "SUDO_UID" in os.environ:
        owner = int(os.environ["SUDO_UID"])
        group = int(os.environ.get("SUDO_GID", "-1"))
        os.chown(path, owner, group, follow_symlinks=False)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; is this a run folder?") from error


def _check_schema(path: Path, raw: bytes) -> None:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: {error}; the file is damaged") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise UsageError(
            f"{path}: schema {schema!r}, and this meshmark reads schema {SCHEMA}; "
            "use the version that wrote the run"
        )


def _cannot_write(path: Path, error: OSError) -> EnvironmentLacks:
    return EnvironmentLacks(
        f"cannot write {path}: {error.strerror}; what was written before it stays. "
        "Free some space or pass --out another folder"
    )


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())[:40]
