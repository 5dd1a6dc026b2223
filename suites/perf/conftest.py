"""What the measurements need beyond the mesh: the image of the load agent."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from harness.load import arms
from harness.record.model import Figure
from harness.stats import blocks
from suites.conftest import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.plugin import Options, RunContext

HELP_S = 0.3
_STARTS = 5


@pytest.hookimpl(trylast=True)
def pytest_meshmark_prepare(
    config: pytest.Config, options: Options, progress: Callable[[str], None]
) -> None:
    """Make the load agent's image before a cluster waits for it."""
    progress("packing the load agent")
    pack(options, [arms.image()], progress)


@pytest.fixture(scope="session", autouse=True)
def _program_starts_soon(run_context: RunContext) -> None:
    """How long the command line takes to say how to use it, as a figure of every run."""
    took_s = []
    for _ in range(_STARTS):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "harness.cli", "--help"], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        took_s.append(time.perf_counter() - started_s)
    found = blocks.median(took_s[1:])
    figure = Figure(name="meshmark --help", value=found.value, unit="s", n=found.n,
                    target=HELP_S, met=found.value <= HELP_S)  # fmt: skip
    run_context.figure(figure)
