"""Intervals and bounds of shares."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "clopper_pearson",
    "design_effect",
    "sample_that_would_hit",
    "upper_bound_of_zero",
    "wilson",
]


def clopper_pearson(hits: int, n: int, confidence: float = 0.99) -> tuple[float, float]:
    """
    The exact interval of a share: covers the truth with at least `confidence`, two-sided.

    Raises:
        ValueError: not 0 <= hits <= n, or n is 0.

    """
    _check(hits, n)
    from scipy.stats import beta  # noqa: PLC0415 - takes longer to load than most checks

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.isf(tail, hits + 1, n - hits))
    return low, high


def wilson(hits: int, n: int, confidence: float = 0.99) -> tuple[float, float]:
    """
    The score interval of a share: covers the truth with `confidence` on average.

    Raises:
        ValueError: not 0 <= hits <= n, or n is 0.

    """
    _check(hits, n)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def upper_bound_of_zero(n: int, confidence: float = 0.999) -> float:
    """The share that n draws without a hit rule out: a larger one had hit with `confidence`."""
    _check(0, n)
    return -math.expm1(math.log(1 - confidence) / n)


def sample_that_would_hit(share: float, miss: float = 1e-6) -> int:
    """How many draws hit something of that share at least once, but for probability `miss`."""
    if not (0 < share < 1 and 0 < miss < 1):
        raise ValueError(f"no sample for {share=} {miss=}")
    return math.ceil(math.log(miss) / math.log1p(-share))


def design_effect(hits: Sequence[int], batch: int) -> float:
    """
    Variance over batches relative to that of independent draws.

    hits: number of hits in each of at least two batches of `batch` draws.

    Raises:
        ValueError: fewer than two batches, or all draws hit or missed.

    """
    share = sum(hits) / (batch * len(hits)) if hits else 0.0
    if len(hits) < 2 or not 0 < share < 1:
        raise ValueError(f"{len(hits)} batches of share {share:g} have no design effect")
    middle = batch * share
    variance = sum((one - middle) ** 2 for one in hits) / (len(hits) - 1)
    return variance / (batch * share * (1 - share))


def _check(hits: int, n: int) -> None:
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits out of {n}")
