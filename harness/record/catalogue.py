"""
The catalogue: every check that a suite knows, with or without a test.

A suite keeps it as `catalogue.toml` beside its tests, so that what is missing is counted rather
than forgotten.
"""

from __future__ import annotations

import difflib
import enum
import tomllib
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.record.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Assertion", "Catalogue", "Defect", "Engine", "Entry", "Lane", "near", "read_catalogue"]


class Lane(enum.StrEnum):
    """
    The cluster that a check runs on.

    steady: certificates live 24 h. short: 20 s, for rotation and expiry.
    """

    STEADY = "steady"
    SHORT = "short"


class Engine(enum.StrEnum):
    """
    What runs the pods of a cluster.

    embedded: processes of this machine. kind: nodes in Docker. external: a cluster of somebody's.
    """

    EMBEDDED = "embedded"
    KIND = "kind"
    EXTERNAL = "external"


class Assertion(enum.StrEnum):
    """How a check judges; the head of the catalogue explains each."""

    EXACT = "exact"
    BINOMIAL = "binomial"
    ZERO = "zero"
    TIME = "time"
    CONTINUOUS = "continuous"
    INVARIANT = "invariant"
    CONTROL = "control"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check of the catalogue; the head of `catalogue.toml` explains the fields."""

    id: str
    title: str
    level: Level
    lane: Lane
    feature: str
    source: str
    assertion: list[Assertion]
    detail: str = ""
    mutants: list[str] = []
    engines: list[Engine] = []
    engines_why: str = ""

    def left_out_of(self, engine: str) -> str:
        """Why it is not for the clusters of this engine; empty when it is."""
        if not self.engines or engine in self.engines:
            return ""
        return f"only for {' and '.join(self.engines)} clusters: {self.engines_why}"


class Defect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mutant of the reference mesh: its id and what is wrong with it."""

    id: str
    defect: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sources: dict[str, str] = {}
    mutant: list[Defect] = []
    check: list[Entry] = []


class Catalogue:
    """
    The checks of one suite by id, in the order of the file.

    mutants: the planted defects of the reference mesh by id.

    Raises:
        UsageError: an id is listed twice, or a check names a mutant that is not listed.

    """

    def __init__(self, entries: Iterable[Entry], mutants: Iterable[Defect] = ()) -> None:
        self._entries: dict[str, Entry] = {}
        self.mutants = {mutant.id: mutant for mutant in mutants}
        for entry in entries:
            if entry.id in self._entries:
                raise UsageError(f"catalogue: {entry.id} is listed twice; give one another id")
            if entry.engines and not entry.engines_why:
                raise UsageError(f"catalogue: {entry.id} is for some engines: say engines_why")
            for mutant in entry.mutants:
                if mutant not in self.mutants:
                    hint = near(mutant, self.mutants)
                    raise UsageError(f"catalogue: {entry.id} names no known mutant: {mutant}{hint}")
            self._entries[entry.id] = entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, check_id: str) -> bool:
        return check_id in self._entries

    def __getitem__(self, check_id: str) -> Entry:
        """
        The entry of that id.

        Raises:
            UsageError: there is none; the message names the nearest ids.

        """
        try:
            return self._entries[check_id]
        except KeyError:
            hint = near(check_id, self._entries)
            raise UsageError(
                f"no check {check_id!r} in the catalogue{hint}; `meshmark checks` lists them all"
            ) from None


def read_catalogue(path: Path) -> Catalogue:
    """
    The catalogue in a TOML file.

    Raises:
        UsageError: it cannot be read, is no valid TOML, has an unknown or missing field, or lists
            an id twice; the message names file and field.

    """
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(parsed, _File)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}: {error}") from error
    return Catalogue(file.check, file.mutant)


def near(name: str, known: Iterable[str]) -> str:
    """The end of an error message: `; did you mean RT-01 or RT-02?`, or nothing."""
    by_lower = {other.lower(): other for other in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if not matches:
        return ""
    return f"; did you mean {' or '.join(by_lower[match] for match in matches)}?"
