"""What a load agent is asked to send, and what it says of it; shared by both ends."""

from __future__ import annotations

import msgspec

__all__ = ["Block", "BlockResult"]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """
    One slice of load on one arm.

    url: what every request gets.
    rate_rps: requests per second, evenly spaced, sent whether or not earlier ones were answered.
    connections: at most so many requests are in flight, each on a connection of its own.
    warmup_s: sent before `duration_s`, at the same rate, and not measured.
    """

    url: str
    headers: dict[str, str] = {}
    rate_rps: float = 500.0
    connections: int = 16
    duration_s: float = 3.0
    warmup_s: float = 0.5


class BlockResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one block saw.

    latency_us, service_us, lateness_us: HDR histograms in microseconds, in the standard V2 text
        form: due to answered, sent to answered, and due to sent. The first is what a user of an
        open system feels; the last is what the generator itself added.
    requests, failures: measured requests, and how many of them failed or were not answered 200.
    cpu_s: processor time of the generator during the measured part.
    """

    latency_us: str
    service_us: str
    lateness_us: str
    requests: int
    failures: int
    first_failure: str = ""
    cpu_s: float
    elapsed_s: float
