"""What a test says about its check while it runs."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from harness.record.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.record.catalogue import Entry

__all__ = ["CHECK", "Check", "Expectation", "Inconclusive", "Phase"]

Phase = Literal["arrange", "apply", "converge", "control", "measure", "reconcile", "tear down"]
"""
The parts of a check, in order: bring up workloads, express intents, wait until the data plane runs
them, positive control, the measurement, the comparison of the ledgers, cleaning up.
"""

T = TypeVar("T")


class Expectation(AssertionError):
    """The mesh did something else than expected; keeps both sides as text."""

    def __init__(self, what: str, expected: str, seen: str) -> None:
        super().__init__(f"{what}: expected {expected}, seen {seen}")
        self.what = what
        self.expected = expected
        self.seen = seen


class Inconclusive(Exception):
    """The question could not be decided: a control or a precondition did not hold."""


class Check:
    """
    One test of a check, as the `check` fixture gives it.

    entry: its entry in the catalogue.
    seed: for all random choices of this test; differs by check, the same in every run of one seed.
    """

    def __init__(self, entry: Entry, seed: int) -> None:
        self.entry = entry
        self.seed = seed
        self.random = random.Random(f"{seed}/{entry.id}")  # noqa: S311 - repeatable, not secret
        self.value: float | None = None
        self.unit = ""
        self.interval: tuple[float, float] | None = None
        self.n: int | None = None
        self.kept: list[Evidence] = []
        self.phases: dict[str, float] = {}
        self.seconds = 0.0
        self.failed_phase: str | None = None

    @property
    def id(self) -> str:
        """The id in the catalogue."""
        return self.entry.id

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Name what happens inside; measures it, and a failure inside names it."""
        started_s = time.perf_counter()
        try:
            yield
        except BaseException:
            self.failed_phase = self.failed_phase or name
            raise
        finally:
            elapsed_s = time.perf_counter() - started_s
            self.phases[name] = round(self.phases.get(name, 0.0) + elapsed_s, 4)

    def measured(
        self,
        value: float,
        unit: str,
        *,
        interval: tuple[float, float] | None = None,
        n: int | None = None,
    ) -> None:
        """Record the quantity that this check judges by. The last call counts."""
        self.value, self.unit, self.interval, self.n = float(value), unit, interval, n

    def evidence(self, kind: str, content: Any) -> None:
        """
        Keep something that was seen: text as it is, anything else as JSON.

        kind: a word or two for the reader of the report: "ledger", "proxy log".
        """
        if isinstance(content, str):
            self.kept.append(Evidence(kind=kind, text=content))
        else:
            self.kept.append(Evidence(kind=kind, data=content))

    def expect(self, holds: object, what: str, *, expected: object, seen: object) -> None:
        """
        Fail the check unless `holds`, telling both sides.

        Raises:
            Expectation: it does not hold.

        """
        if not holds:
            raise Expectation(what, _told(expected), _told(seen))

    def equal(self, seen: T, expected: T, what: str) -> None:
        """Fail the check unless both are equal."""
        self.expect(seen == expected, what, expected=expected, seen=seen)

    def control(self, holds: object, what: str, *, seen: object = None) -> None:
        """
        A positive control: what must hold for the absence of something to mean anything.

        Raises:
            Inconclusive: it does not hold.

        """
        if not holds:
            told = "" if seen is None else f"; seen {_told(seen)}"
            self.failed_phase = self.failed_phase or "control"
            raise Inconclusive(f"positive control did not hold: {what}{told}")

    def inconclusive(self, why: str) -> None:
        """
        Give up without a verdict on the mesh.

        Raises:
            Inconclusive: always.

        """
        raise Inconclusive(why)


CHECK = pytest.StashKey[Check]()


def _told(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
