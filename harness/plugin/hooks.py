"""Hooks that suites implement in their conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from harness.plugin.check import Check
    from harness.plugin.options import Options

__all__ = ["pytest_meshmark_evidence", "pytest_meshmark_prepare"]


def pytest_meshmark_prepare(
    config: pytest.Config, options: Options, progress: Callable[[str], None]
) -> None:
    """
    Build and check what the suite needs, once per run, before any test process starts.

    Called in the process that the user started only. `progress` prints one line. An error of
    `harness.errors` ends the run with its text.
    """


def pytest_meshmark_evidence(item: pytest.Item, check: Check) -> None:
    """
    Keep what will be gone soon, with `check.evidence`: logs, events, the state of pods.

    Called in the process of the test as soon as it has not passed, before its fixtures end.
    """
