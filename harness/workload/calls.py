"""Calls and traffic that start in a pod: what application and helper container have in common."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from harness.errors import ClusterError, MeshmarkError
from harness.waiting import until
from harness.workload.control import SLACK_S
from harness.workload.records import Outcome, Traffic, TrafficSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.workload.control import Control
    from harness.workload.plans import Plan

__all__ = ["Caller", "RunningTraffic"]


class Caller:
    """
    A container that makes calls as it is told.

    Bodies are made, read and hashed in the pod; only outcomes come back.
    """

    def __init__(self, control: Control) -> None:
        self._control = control

    @property
    def name(self) -> str:
        """Which pod this is, for messages."""
        return self._control.name

    def is_ready(self) -> bool:
        """Whether the container says that it is ready; False also when it does not answer."""
        try:
            self._control.request("GET", "/ready")
        except MeshmarkError:
            return False
        return True

    def wait_ready(self, *, timeout_s: float = 30.0) -> None:
        """
        Wait until the container says that it is ready.

        Raises:
            NotInTime: it did not within `timeout_s`.

        """
        until(self.is_ready, what=f"{self._control.name} ready", timeout_s=timeout_s)

    def stream(self, plan: Plan) -> Iterator[Outcome]:
        """
        Make the calls of a plan and hand out outcomes as calls end, in that order.

        Closing the iterator gives the rest of the plan up.
        """
        # Each outcome follows the one before within this time, unless calls are due later.
        pause_s = 1.0 / plan.rate_rps if plan.rate_rps else 0.0
        timeout_s = plan.deadline_s + pause_s + SLACK_S
        lines = self._control.lines("POST", "/call", body=plan.json(), timeout_s=timeout_s)
        for line in lines:
            yield msgspec.json.decode(line, type=Outcome)

    def call(self, plan: Plan) -> list[Outcome]:
        """Make the calls of a plan; outcomes by their number."""
        return sorted(self.stream(plan), key=lambda outcome: outcome.n)

    def one(self, plan: Plan) -> Outcome:
        """Make a single call."""
        outcomes = self.call(plan)
        if len(outcomes) != 1:
            raise ClusterError(f"{self._control.name}: {len(outcomes)} outcomes of one call")
        return outcomes[0]

    def start(self, plan: Plan) -> RunningTraffic:
        """Start traffic that runs until it is stopped or its plan is done."""
        answer = self._control.request("POST", "/traffic", body=plan.json())
        number: int = msgspec.json.decode(answer)["id"]
        return RunningTraffic(self._control, number, plan)

    @contextlib.contextmanager
    def traffic(self, plan: Plan) -> Iterator[RunningTraffic]:
        """
        Traffic around a block of code; `result` of what it yields is set when the block ends.

        A plan without `count` and `duration_s` runs for as long as the block does.
        """
        endless = plan.count is None and plan.duration_s is None
        lasting = msgspec.structs.replace(plan, duration_s=86_400.0) if endless else plan
        running = self.start(lasting)
        try:
            yield running
        finally:
            running.stop()

    def resolve(self, name: str) -> list[str]:
        """
        Addresses of a name by the pod's resolver.

        Raises:
            ClusterError: the name has none.

        """
        answer = msgspec.json.decode(self._control.request("GET", f"/resolve/{name}"))
        if "error" in answer:
            raise ClusterError(f"{self._control.name}: {name}: {answer['error']}")
        return sorted(set(answer["addresses"]))


class RunningTraffic:
    """
    Traffic in a pod.

    result: its outcomes; None until it was stopped.
    """

    def __init__(self, control: Control, number: int, plan: Plan) -> None:
        self._control = control
        self._number = number
        self._plan = plan
        self.result: Traffic | None = None

    def summary(self) -> TrafficSummary:
        """Counts so far."""
        if self.result is not None:
            return self.result.summary
        answer = self._control.request("GET", f"/traffic/{self._number}")
        return msgspec.json.decode(answer, type=TrafficSummary)

    def wait_calls(self, calls: int, *, timeout_s: float = 30.0) -> TrafficSummary:
        """Wait until that many more calls have ended."""
        goal = self.summary().calls + calls
        return until(
            self.summary,
            what=f"{calls} more calls from {self._control.name}",
            timeout_s=timeout_s,
            holds=lambda summary: summary.calls >= goal,
        )

    def stop(self) -> Traffic:
        """Start no more calls, wait for those in progress, and collect. Stopping again is free."""
        if self.result is None:
            lines = self._control.lines(
                "DELETE",
                f"/traffic/{self._number}",
                timeout_s=self._plan.deadline_s + SLACK_S,
            )
            summary = msgspec.json.decode(next(lines), type=TrafficSummary)
            outcomes = [msgspec.json.decode(line, type=Outcome) for line in lines]
            self.result = Traffic(summary, outcomes)
        return self.result
