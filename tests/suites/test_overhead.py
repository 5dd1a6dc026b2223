"""What a machine that is late may and may not excuse."""

from __future__ import annotations

import pytest

from suites.perf.overhead import AGAIN, DIRECT, MESHED, RELAYED, Load


def within(*, added_ms: float, relayed_ms: float = 0.2, noise_ms: float = 0.0) -> bool | None:
    class Seen(Load):
        def quantile_ms(self, arm: str, percentile: float) -> list[float]:
            over_direct = {DIRECT: 0.0, AGAIN: noise_ms, RELAYED: relayed_ms, MESHED: added_ms}
            return [1.0 + over_direct[arm]]

    return Seen({}, {}, {}).is_within_budget()


def test_a_calm_machine_tells() -> None:
    assert within(added_ms=0.7) is True
    assert within(added_ms=1.3) is False


def test_direct_that_differs_from_itself_tells_nothing() -> None:
    assert within(added_ms=0.7, noise_ms=0.4) is None
    assert within(added_ms=5.0, noise_ms=-0.4) is None


@pytest.mark.parametrize(("added_ms", "told"), [(0.9, True), (2.8, None), (3.3, False)])
def test_relays_excuse_what_they_add_themselves(added_ms: float, told: bool | None) -> None:
    assert within(added_ms=added_ms, relayed_ms=2.2) is told
