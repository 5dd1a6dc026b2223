"""
What the load saw, and whether that is within the budget.

`direct again` differs from `direct` in nothing, so their difference is what this machine could
resolve that day. A meshed request wakes more processes than a direct one; how late this machine
wakes one is known besides (`harness.load.wakeups`). That excuses no more than it may have added to
meshed requests, and hides no more than it may have added to direct ones.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING

from hdrh.histogram import HdrHistogram

if TYPE_CHECKING:
    from harness.cluster import ProcessFacts
    from harness.load.blocks import BlockResult

__all__ = [
    "ADDED_WAKEUPS",
    "AGAIN",
    "BUDGET_P99_MS",
    "DIRECT",
    "DIRECT_WAKEUPS",
    "MESHED",
    "RESOLUTION_MS",
    "Load",
]

BUDGET_P99_MS = 1.0
RESOLUTION_MS = 0.3
"""Direct against itself may differ by so much before a difference of 1 ms means nothing."""

DIRECT_WAKEUPS = 2
"""A direct request wakes the server, and its answer the client."""

ADDED_WAKEUPS = 4
"""Two proxies are woken on the way there, and two on the way back."""

DIRECT, AGAIN, MESHED = "direct", "direct again", "meshed"


@dataclasses.dataclass(frozen=True)
class Load:
    """
    What the arms saw, and what the sidecars took.

    results: by arm, in the order of the rounds. before, after: the sidecars' processes by the name
    of their workload. wakeups_us: how late this machine woke sleeping threads, in microseconds;
    none where the load was sent elsewhere.
    """

    results: dict[str, list[BlockResult]]
    before: dict[str, ProcessFacts]
    after: dict[str, ProcessFacts]
    wakeups_us: HdrHistogram | None

    def quantile_ms(self, arm: str, percentile: float) -> list[float]:
        """The percentile of each block of an arm, from when requests were due."""
        histograms = (HdrHistogram.decode(r.latency_us) for r in self.results[arm])
        return [h.get_value_at_percentile(percentile) / 1000 for h in histograms]

    def added_ms(self, arm: str, percentile: float) -> list[float]:
        """How much more than `direct` each block of an arm showed, round by round."""
        own, direct = self.quantile_ms(arm, percentile), self.quantile_ms(DIRECT, percentile)
        return [slow - fast for slow, fast in zip(own, direct, strict=True)]

    def noise_ms(self) -> float:
        """How far the 99th percentile of `direct` lies from itself, as the median of the rounds."""
        return abs(statistics.median(self.added_ms(AGAIN, 99)))

    def late_ms(self, wakeups: int) -> float | None:
        """What this machine's wake-ups add at p99 to a request that waits for so many of them."""
        late = self.wakeups_us
        return None if late is None else late.get_value_at_percentile(100 - 1 / wakeups) / 1000

    def is_within_budget(self) -> bool | None:
        """
        Whether the mesh adds no more than its budget at p99; None where this machine cannot tell.

        Late wake-ups may have added to what is seen of meshed requests, and as well to what is
        taken off as direct. Where they are rarer than matters, that is nothing.
        """
        if self.noise_ms() > RESOLUTION_MS:
            return None
        meshed_ms, direct_ms = (
            late_ms if late_ms is not None and late_ms > RESOLUTION_MS else 0.0
            for late_ms in (
                self.late_ms(DIRECT_WAKEUPS + ADDED_WAKEUPS),
                self.late_ms(DIRECT_WAKEUPS),
            )
        )
        added_ms = statistics.median(self.added_ms(MESHED, 99))
        if added_ms - meshed_ms > BUDGET_P99_MS:
            return False
        return True if added_ms + direct_ms <= BUDGET_P99_MS else None
