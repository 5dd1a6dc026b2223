"""What a late machine may and may not excuse."""

from __future__ import annotations

import pytest

from harness.load import wakeups
from suites.perf.overhead import AGAIN, DIRECT, MESHED, Load


def within(
    *,
    added_ms: float,
    noise_ms: float = 0.0,
    late_ms: float | None = 0.1,
    late_of_1000: int = 6,
) -> bool | None:
    class Seen(Load):
        def quantile_ms(self, arm: str, percentile: float) -> list[float]:
            return {DIRECT: [1.0], AGAIN: [1.0 + noise_ms], MESHED: [1.0 + added_ms]}[arm]

    late_us = None if late_ms is None else wakeups.histogram()
    if late_us is not None and late_ms is not None:
        # A request of two wake-ups waits for a late one once in a hundred times.
        late_us.record_value(50, 1000 - late_of_1000)
        late_us.record_value(round(late_ms * 1000), late_of_1000)
    return Seen({}, {}, {}, late_us).is_within_budget()


def test_a_calm_machine_tells() -> None:
    assert within(added_ms=0.7) is True
    assert within(added_ms=1.2) is False
    assert within(added_ms=1.2, late_ms=None) is False


def test_direct_that_differs_from_itself_tells_nothing() -> None:
    assert within(added_ms=0.7, noise_ms=0.4) is None
    assert within(added_ms=5.0, noise_ms=-0.4) is None


@pytest.mark.parametrize(("added_ms", "told"), [(0.9, None), (2.8, None), (50.0, False)])
def test_lateness_excuses_and_hides_no_more_than_it_may_add(
    added_ms: float, told: bool | None
) -> None:
    assert within(added_ms=added_ms, late_ms=3.2) is told


def test_lateness_too_rare_for_direct_requests_hides_nothing() -> None:
    assert within(added_ms=0.9, late_ms=3.2, late_of_1000=4) is True
    assert within(added_ms=2.8, late_ms=3.2, late_of_1000=4) is None
