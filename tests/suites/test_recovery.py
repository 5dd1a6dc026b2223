"""Which requests the loss of a node excuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.plugin.check import Check, Expectation
from harness.record.catalogue import read_catalogue
from suites.conformance.recovery import RECOVERED_S, judge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEFORE = 11
"""Calls are due each second; the node is lost at 10."""


@pytest.fixture
def check(pytestconfig: pytest.Config) -> Check:
    catalogue: Path = pytestconfig.rootpath / "suites/conformance/catalogue.toml"
    return Check(read_catalogue(catalogue)["LC-09"], seed=1)


def judged(check: Check, failed: Iterable[int]) -> None:
    calls = [SimpleNamespace(intended_ns=s * 10**9, ok=s not in set(failed)) for s in range(100)]
    judge(check, calls, BEFORE, deadline_s=3.0)  # type: ignore[arg-type]


def test_failures_soon_after_it_are_excused(check: Check) -> None:
    judged(check, [8, 11, 30])
    assert check.value == RECOVERED_S


@pytest.mark.parametrize("due_s", [2, 31, 90])
def test_others_are_not(check: Check, due_s: int) -> None:
    """A single late one after a quiet time is late too, and so is one as the node comes back."""
    with pytest.raises(Expectation, match="1 not so"):
        judged(check, [12, due_s])
