"""Estimates from blocks of load, one value per block."""

from __future__ import annotations

import enum
import math
import statistics
from statistics import NormalDist
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Change", "Estimate", "judge", "median", "shift"]

_RESAMPLES = 10_000


class Change(enum.StrEnum):
    """What a shift means for the one who pays it."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


class Estimate(msgspec.Struct, frozen=True):
    """A value with its interval, from `n` blocks (of each arm)."""

    value: float
    interval: tuple[float, float]
    n: int


def median(blocks: Sequence[float], *, confidence: float = 0.95, seed: int = 1) -> Estimate:
    """
    The median of the blocks with a percentile bootstrap interval over whole blocks.

    Raises:
        ValueError: fewer than two blocks.

    """
    if len(blocks) < 2:
        raise ValueError(f"{len(blocks)} blocks have no interval; two are the least")
    import numpy as np  # noqa: PLC0415 - loaded where it is needed

    values = np.asarray(blocks, dtype=float)
    random = np.random.default_rng(seed)
    resampled = np.median(random.choice(values, size=(_RESAMPLES, len(values))), axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(statistics.median(blocks), (float(low), float(high)), len(blocks))


def shift(before: Sequence[float], after: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """
    How far `after` lies above `before`: the Hodges-Lehmann estimate with its rank interval.

    The median of all differences between one block of each; the interval is free of any assumption
    on the distribution but that of equal shapes. With few blocks it is the whole range.

    Raises:
        ValueError: an arm has no block.

    """
    if not before or not after:
        raise ValueError("an arm without blocks has no shift")
    pairs = sorted(late - early for early in before for late in after)
    m, n = len(before), len(after)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    place = math.floor(m * n / 2 - z * math.sqrt(m * n * (m + n + 1) / 12))
    place = max(place, 0)
    return Estimate(statistics.median(pairs), (pairs[place], pairs[-1 - place]), min(m, n))


def judge(change: Estimate, *, practical: float, noise: float, lower_is_better: bool) -> Change:
    """
    What a shift means.

    practical: the smallest shift that matters, in the unit of the estimate. noise: the largest that
    arms without a difference showed (A/A). Worse or better needs the whole interval beyond both;
    the same needs it within `practical`; everything else is inconclusive.
    """
    low, high = change.interval
    bar = max(practical, noise)
    if low > bar:
        return Change.WORSE if lower_is_better else Change.BETTER
    if high < -bar:
        return Change.BETTER if lower_is_better else Change.WORSE
    return Change.SAME if -practical <= low and high <= practical else Change.INCONCLUSIVE
