"""
Locust as an open-loop instrument.

Locust's own pacing is closed: a user waits for an answer before it sends again, so a slow mesh is
asked less often, and the requests that it would have delayed are never counted (coordinated
omission). Its statistics round to whole milliseconds besides, while a sidecar adds fractions of
one. Here one pacer makes request k due at `start + k / rate` and the users send what is due; when
all of them are busy the slots grow late, and that lateness counts, for latency runs from the time a
request was due. Latency is taken in Locust's `request` event, into histograms of microseconds;
Locust's rounded statistics are not read.
"""

from __future__ import annotations

import time
from typing import Any

from gevent.event import Event
from gevent.queue import Queue
from gevent.socket import wait_read
from hdrh.histogram import HdrHistogram
from locust import FastHttpUser, constant, task
from locust.env import Environment

from harness.load.blocks import Block, BlockResult
from harness.load.ticker import Ticker

__all__ = ["run"]

_LONGEST_US = 60_000_000
_DIGITS = 3
_LAST_ANSWER_S = 30.0
"""How long the last answers may take once the last request was due."""


def run(block: Block) -> BlockResult:
    """Send `block`, wait for the last answers, and return what was seen."""
    schedule = _Schedule(block)
    environment = Environment(user_classes=[_user_class(block, schedule)], catch_exceptions=False)
    environment.events.request.add_listener(schedule.on_request)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    try:
        runner.start(block.connections, spawn_rate=block.connections, wait=True)
        schedule.pace()
        schedule.drained.wait(timeout=_LAST_ANSWER_S)
    finally:
        runner.quit()
    return schedule.result()


class _Schedule:
    """The slots of one block: when each is due, who takes it, and what became of it."""

    def __init__(self, block: Block) -> None:
        self._gap_ns = round(1e9 / block.rate_rps)
        self._warmup = round(block.warmup_s * block.rate_rps)
        self._total = self._warmup + round(block.duration_s * block.rate_rps)
        # Holds no more than the block's slots, so it needs no bound of its own.
        self._due: Queue[dict[str, int]] = Queue()
        self._answered = 0
        self._failures = 0
        self._first_failure = ""
        self._latency = HdrHistogram(1, _LONGEST_US, _DIGITS)
        self._service = HdrHistogram(1, _LONGEST_US, _DIGITS)
        self._lateness = HdrHistogram(1, _LONGEST_US, _DIGITS)
        self._cpu_s = 0.0
        self._measured_ns = 0
        self.drained = Event()

    def pace(self) -> None:
        """Make every slot due in its time; returns after the last."""
        number = 0
        with Ticker(self._gap_ns) as ticker:
            started_ns = time.perf_counter_ns()
            ticker.start()
            while number < self._total:
                wait_read(ticker.fileno())
                for _ in range(min(ticker.fired(), self._total - number)):
                    if number == self._warmup:
                        self._cpu_s = time.process_time()
                        self._measured_ns = time.perf_counter_ns()
                    number += 1
                    due_ns = started_ns + number * self._gap_ns
                    self._due.put({"measured": number > self._warmup, "due_ns": due_ns})

    def take(self) -> dict[str, int]:
        """The next slot, once it is due."""
        slot: dict[str, int] = self._due.get()
        slot["sent_ns"] = time.perf_counter_ns()
        return slot

    def on_request(
        self, *, exception: BaseException | None, response: Any, context: dict[str, int], **_: Any
    ) -> None:
        """Locust's `request` event: one answer, or the lack of one."""
        now_ns = time.perf_counter_ns()
        self._answered += 1
        if context["measured"]:
            status = getattr(response, "status_code", 0)
            if exception is not None or status != 200:
                self._failures += 1
                self._first_failure = self._first_failure or f"{exception or status}"
            else:
                _record(self._latency, now_ns - context["due_ns"])
                _record(self._service, now_ns - context["sent_ns"])
            _record(self._lateness, context["sent_ns"] - context["due_ns"])
        if self._answered == self._total:
            self.drained.set()

    def result(self) -> BlockResult:
        """What was seen so far."""
        return BlockResult(
            latency_us=self._latency.encode().decode(),
            service_us=self._service.encode().decode(),
            lateness_us=self._lateness.encode().decode(),
            requests=max(0, self._answered - self._warmup),
            failures=self._failures + (self._total - self._answered),
            first_failure=self._first_failure,
            cpu_s=time.process_time() - self._cpu_s,
            elapsed_s=(time.perf_counter_ns() - self._measured_ns) / 1e9,
        )


def _record(histogram: HdrHistogram, duration_ns: int) -> None:
    histogram.record_value(min(max(duration_ns // 1000, 1), _LONGEST_US))


def _user_class(block: Block, schedule: _Schedule) -> type[FastHttpUser]:
    class OpenLoopUser(FastHttpUser):
        """One connection; sends whatever slot is next."""

        host = block.url
        wait_time = constant(0)
        concurrency = 1
        network_timeout = 30.0
        connection_timeout = 5.0

        @task
        def send(self) -> None:
            self.client.get("", headers=block.headers, context=schedule.take())

    return OpenLoopUser
