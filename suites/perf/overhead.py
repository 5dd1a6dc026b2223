"""
What the load saw, and whether that is within the budget.

`direct again` differs from `direct` in nothing, so their difference is what this machine could
resolve that day. A meshed request wakes two more processes on the way there, and two on the way
back; a machine that wakes threads late now and then makes such a request slow whatever those
processes do, and a direct one seldom. `relayed` shows how slow: two relays that only copy bytes
stand where sidecars would. Where they alone take up the budget, a mesh is not blamed for more than
it adds over them, nor praised.
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
    "AGAIN",
    "BUDGET_P99_MS",
    "DIRECT",
    "MESHED",
    "RELAYED",
    "RESOLUTION_MS",
    "Load",
]

BUDGET_P99_MS = 1.0
RESOLUTION_MS = 0.3
"""Direct against itself may differ by so much before a difference of 1 ms means nothing."""

DIRECT, AGAIN, RELAYED, MESHED = "direct", "direct again", "relayed", "meshed"


@dataclasses.dataclass(frozen=True)
class Load:
    """
    What the arms saw, and what the sidecars took.

    results: by arm, in the order of the rounds. before, after: the sidecars' processes by the name
    of their workload.
    """

    results: dict[str, list[BlockResult]]
    before: dict[str, ProcessFacts]
    after: dict[str, ProcessFacts]

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

    def is_within_budget(self) -> bool | None:
        """Whether the mesh adds no more than its budget at p99; None where this cannot be told."""
        if self.noise_ms() > RESOLUTION_MS:
            return None
        meshed_ms = self.added_ms(MESHED, 99)
        if statistics.median(meshed_ms) <= BUDGET_P99_MS:
            return True
        over_relays_ms = [
            meshed - relayed
            for meshed, relayed in zip(meshed_ms, self.added_ms(RELAYED, 99), strict=True)
        ]
        return False if statistics.median(over_relays_ms) > BUDGET_P99_MS else None
