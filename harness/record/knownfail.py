"""
The known-fail list: failures that someone has looked at, with a reason and a date to look again.

An entry makes a failed check `known-fail` until it expires. An expired entry changes nothing, and
an entry whose check passes turns the check into a failure, so that the list only ever shrinks.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.record.model import CheckRecord, Failure, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.record.catalogue import Catalogue

__all__ = ["KnownFail", "apply_known_fails", "read_known_fails"]


class KnownFail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One triaged failure.

    mesh: the mesh that it holds for. expires: the last day on which it counts.
    link: where the failure is discussed.
    """

    id: str
    mesh: str
    reason: str
    expires: dt.date
    link: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    known_fail: list[KnownFail] = []


def read_known_fails(path: Path, catalogue: Catalogue) -> list[KnownFail]:
    """
    The entries of a TOML file; none when there is no such file.

    Raises:
        UsageError: the file is malformed or names a check that the catalogue lacks.

    """
    if not path.exists():
        return []
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}: {error}") from error
    for entry in file.known_fail:
        try:
            _ = catalogue[entry.id]
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    return file.known_fail


def apply_known_fails(
    record: CheckRecord, entries: Sequence[KnownFail], mesh: str, today: dt.date
) -> CheckRecord:
    """The record as the list makes it: known-fail, failed for an unexpected pass, or as it was."""
    entry = next((one for one in entries if (one.id, one.mesh) == (record.id, mesh)), None)
    if entry is None:
        return record
    told = f"{entry.reason} (until {entry.expires.isoformat()})"
    if entry.link:
        told += f" {entry.link}"
    if record.verdict is Verdict.FAIL and today <= entry.expires:
        return msgspec.structs.replace(record, verdict=Verdict.KNOWN_FAIL, reason=told)
    if record.verdict is Verdict.FAIL:
        return msgspec.structs.replace(record, reason=f"known-fail entry has expired: {told}")
    if record.verdict is Verdict.PASS:
        failure = Failure(
            phase="measure",
            message="listed as known to fail, and passed: remove it from the known-fail list",
        )
        return msgspec.structs.replace(
            record, verdict=Verdict.FAIL, reason=f"unexpected pass: {told}", failure=failure
        )
    return record
