"""Wake-ups of this machine are seen on each of its processors, and as late as they are."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from harness.load import wakeups
from harness.load.ticker import Ticker

if TYPE_CHECKING:
    import pytest

CPUS = len(os.sched_getaffinity(0))


def test_every_timer_of_every_processor_counts() -> None:
    late_us = wakeups.histogram()
    wakeups.watch(late_us, 0.05)
    assert late_us.total_count == 50 * CPUS
    assert late_us.get_value_at_percentile(50) < 50_000


def test_the_caller_stays_where_it_was() -> None:
    before = os.sched_getaffinity(0)
    wakeups.watch(wakeups.histogram(), 0.01)
    assert os.sched_getaffinity(0) == before


def test_timers_that_were_slept_through_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sleepy(Ticker):
        """Comes back from starting when six timers are due."""

        def start(self) -> None:
            super().start()
            until_ns = time.perf_counter_ns() + 6_500_000
            while time.perf_counter_ns() < until_ns:
                pass

    monkeypatch.setattr(wakeups, "Ticker", Sleepy)
    late_us = wakeups.histogram()
    wakeups.watch(late_us, 0.006)
    assert late_us.total_count == 6 * CPUS
    # The first was due after 1 ms, the fourth after 4.
    assert late_us.get_value_at_percentile(50) >= 2_000
    assert late_us.get_max_value() >= 5_000
