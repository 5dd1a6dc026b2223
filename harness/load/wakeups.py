"""
How late this machine wakes a thread that sleeps.

What a mesh adds to a request is mostly that two more processes are woken on the way there, and two
on the way back. Where the machine wakes a thread whole milliseconds late once in a hundred times
(a neighbour on the same processor, a hypervisor that runs another guest), the 99th percentile of
that request is the machine's. Direct requests, which wake less, show little of it, so that two
direct arms can agree while this is so. Hence it is measured by itself: on each of some processors
a thread sleeps until a kernel timer is due, and notes how much later it runs.
"""

from __future__ import annotations

import os
import select
import time
from concurrent.futures import ThreadPoolExecutor

from hdrh.histogram import HdrHistogram

from harness.load.ticker import Ticker

__all__ = ["histogram", "watch"]

_GAP_NS = 1_000_000
"""Often enough to see one wake-up in hundreds; seldom enough that the threads sleep meanwhile."""

_MOST_CPUS = 4
"""Threads of Python wait for one another: more of them would see that."""

_LONGEST_US = 60_000_000
_DIGITS = 3


def histogram() -> HdrHistogram:
    """An empty histogram of the lateness of wake-ups, in microseconds."""
    return HdrHistogram(1, _LONGEST_US, _DIGITS)


def watch(late_us: HdrHistogram, duration_s: float) -> None:
    """Add to the histogram what is seen for so long on some processors of this process."""
    cpus = sorted(os.sched_getaffinity(0))
    cpus = cpus[:: -(-len(cpus) // _MOST_CPUS)]
    with ThreadPoolExecutor(len(cpus)) as threads:
        for seen in threads.map(_on, cpus, [duration_s] * len(cpus)):
            for each_us in seen:
                late_us.record_value(min(max(each_us, 1), _LONGEST_US))


def _on(cpu: int, duration_s: float) -> list[int]:
    """The lateness seen on one processor by the calling thread, which stays there."""
    os.sched_setaffinity(0, {cpu})  # 0 is this thread alone
    seen: list[int] = []
    total = round(duration_s * 1e9 / _GAP_NS)
    with Ticker(_GAP_NS) as ticker:
        readable = select.poll()
        readable.register(ticker.fileno(), select.POLLIN)
        started_ns = time.perf_counter_ns()
        ticker.start()
        while len(seen) < total:
            readable.poll()
            now_ns = time.perf_counter_ns()
            for _ in range(min(ticker.fired(), total - len(seen))):
                due_ns = started_ns + (len(seen) + 1) * _GAP_NS
                seen.append((now_ns - due_ns) // 1000)
    return seen
