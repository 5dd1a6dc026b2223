"""How many requests decide whether a share is the one that was asked for."""

from __future__ import annotations

import functools

import msgspec

__all__ = ["Plan", "plan", "region"]

_STEP = 50
_MOST = 100_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A test fixed in advance: take `n` independent draws, accept when `low <= hits <= high`.

    share: the share that a correct mesh has. delta: the smallest deviation that must not pass.
    alpha: the most probable acceptance of a mesh that is off by `delta` or more.
    power: the least probable acceptance of a correct mesh.
    """

    share: float
    delta: float
    alpha: float
    power: float
    n: int
    low: int
    high: int

    def accepts(self, hits: int) -> bool:
        """Whether that many hits out of `n` are compatible with `share` and exclude `delta`."""
        return self.low <= hits <= self.high


@functools.cache
def plan(share: float, delta: float, *, alpha: float = 1e-3, power: float = 0.999) -> Plan:
    """
    The smallest such test, with `n` a multiple of 50.

    Raises:
        ValueError: the arguments are no probabilities, or 100,000 draws are not enough.

    """
    if not (0 < share < 1 and delta > 0 and 0 < alpha < 0.5 and 0.5 < power < 1):
        raise ValueError(f"no test for {share=} {delta=} {alpha=} {power=}")
    for n in range(_STEP, _MOST + 1, _STEP):
        low, high = region(n, share, delta, alpha=alpha)
        if low <= high and _between(low, high, n, share) >= power:
            return Plan(share=share, delta=delta, alpha=alpha, power=power, n=n, low=low, high=high)
    raise ValueError(f"more than {_MOST} draws for {share=} {delta=} {alpha=} {power=}")


def region(n: int, share: float, delta: float, *, alpha: float) -> tuple[int, int]:
    """
    The counts `(low, high)` out of `n` that exclude a deviation of `delta`; empty if low > high.

    `low` is the smallest count with P(X >= low | share - delta) <= alpha, `high` the largest with
    P(X <= high | share + delta) <= alpha: two one-sided exact binomial tests. A bound outside 0..1
    is no bound, and that side accepts everything.
    """
    from scipy.stats import binom  # noqa: PLC0415 - takes longer to load than most checks

    low = int(binom.isf(alpha, n, share - delta)) + 1 if share > delta else 0
    if share + delta >= 1:
        return low, n
    high = int(binom.ppf(alpha, n, share + delta))
    return low, high if binom.cdf(high, n, share + delta) <= alpha else high - 1


def _between(low: int, high: int, n: int, share: float) -> float:
    from scipy.stats import binom  # noqa: PLC0415

    return float(binom.cdf(high, n, share) - binom.cdf(low - 1, n, share))
