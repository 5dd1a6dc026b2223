"""Latency histograms: nanoseconds in HdrHistogram form, exchangeable with the Rust generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdrh.histogram import HdrHistogram

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Latencies"]

_LOWEST_NS = 1
_HIGHEST_NS = 60_000_000_000
"""One minute: no check waits longer for a single answer."""
_DIGITS = 3
"""Significant digits kept: a value is off by at most one part in a thousand."""


class Latencies:
    """
    How long requests took, from the intended time of sending, in nanoseconds.

    Values above one minute are counted as one minute. Merging loses nothing.
    """

    def __init__(self) -> None:
        self._counts = HdrHistogram(_LOWEST_NS, _HIGHEST_NS, _DIGITS)

    @classmethod
    def decoded(cls, encoded: bytes) -> Latencies:
        """
        The histogram that `encoded` or another HdrHistogram V2 writer made.

        Raises:
            UsageError: it is no such histogram.

        """
        latencies = cls()
        try:
            latencies._counts.decode_and_add(encoded)
        except Exception as error:  # the decoder raises zlib, struct and its own errors
            raise UsageError(f"not an HdrHistogram in V2 base64 form: {error}") from error
        return latencies

    def encoded(self) -> bytes:
        """The V2 base64 form."""
        return bytes(self._counts.encode())

    def record(self, latency_ns: int) -> None:
        """Count one request."""
        self._counts.record_value(min(max(latency_ns, _LOWEST_NS), _HIGHEST_NS))

    def record_all(self, latencies_ns: Iterable[int]) -> None:
        """Count many requests."""
        for latency_ns in latencies_ns:
            self.record(latency_ns)

    def add(self, other: Latencies) -> None:
        """Merge the counts of another histogram into this one."""
        self._counts.add(other._counts)

    @property
    def count(self) -> int:
        """How many requests were counted."""
        return int(self._counts.get_total_count())

    def quantile_ns(self, share: float) -> int:
        """The latency that `share` (0..1) of the requests did not exceed; 0 when there are none."""
        return int(self._counts.get_value_at_percentile(share * 100)) if self.count else 0

    def curve(self) -> list[tuple[float, int]]:
        """Points `(share, latency_ns)` that rise with share, dense towards the tail."""
        shares = [0.25, 0.5, 0.75]
        step = 0.1
        while step * self.count >= 1 and step >= 1e-6:
            shares += [1 - step, 1 - step / 2, 1 - step / 4]
            step /= 10
        return [(share, self.quantile_ns(share)) for share in sorted(set(shares))]
