"""Traffic across an event, which may not lose a request: the assertion class `continuous`."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from harness.stats.shares import sample_that_would_hit, upper_bound_of_zero
from harness.waiting import until
from harness.workload.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from harness.plugin import Check
    from harness.workload.calls import RunningTraffic
    from harness.workload.records import Outcome
    from suites.member import Member

__all__ = ["LEAST_CALLS", "LEAST_RPS", "SERVED_S", "Continuous", "continuous"]

LOST_SHARE = 0.01
MISSED = 1e-3
LEAST_CALLS = sample_that_would_hit(LOST_SHARE, MISSED)
"""
Traffic goes on after a short event until so many calls were made: of a mesh that loses one in a
hundred, one in a thousand runs sees no loss.
"""

LEAST_RPS = 25.0
"""Less traffic than this would miss short gaps. What is sent is half as much again."""

_RATES = (("h1", None, 15.0), ("h1", 0, 10.0), ("h2", None, 15.0))
"""Protocol, connections kept (None: some, 0: one per call) and calls a second."""
_AT_ONCE = 100
SERVED_S = 30.0
"""How long a mesh may take until a new pod is served: the bound of the Gateway API's suite."""

_ENOUGH_S = 60.0
"""Twice as long as the sample takes at `LEAST_RPS`."""


@dataclasses.dataclass(frozen=True)
class Continuous:
    """
    Traffic of several kinds to one service.

    first_rps: calls a second of the first kind.
    """

    server: Member
    running: tuple[RunningTraffic, ...]
    first_rps: float

    def until_served_by(self, pods: Collection[str]) -> None:
        """
        Wait until each of these pods has served a request.

        Raises:
            NotInTime: some pod got none.

        """
        for pod in pods:
            app = self.server.instance(pod)
            before = app.summary().arrived
            until(
                lambda app=app, before=before: app.summary().arrived - before,  # type: ignore[misc]
                what=f"requests at {pod}",
                timeout_s=SERVED_S,
                hint="The mesh has not heard of this pod, or does not send to it.",
            )

    def last(self, seconds: float) -> None:
        """Let the traffic go on for so long."""
        calls = round(seconds * self.first_rps)
        self.running[0].wait_calls(calls, timeout_s=2 * seconds + SERVED_S)

    def until_enough(self) -> None:
        """Let the traffic go on until it makes a sample."""
        until(
            lambda: sum(traffic.summary().calls for traffic in self.running),
            what=f"{LEAST_CALLS} calls to {self.server.role.name}",
            holds=lambda calls: calls >= LEAST_CALLS,
            timeout_s=_ENOUGH_S,
        )


@contextlib.contextmanager
def continuous(
    check: Check, client: Member, server: Member, *, times: int = 1
) -> Iterator[Continuous]:
    """
    Send traffic while the block runs, and until it makes a sample; no request of it may fail.

    times: multiplies the rate, for an event so short that most of the sample would come after it.
    The block is the phase `measure`, the verdict the phase `reconcile`.
    """
    plans = [
        Plan(
            url=server.url(),
            protocol=protocol,  # type: ignore[arg-type]
            id=f"{check.id}-{number}",
            rate_rps=times * rate_rps,
            concurrency=_AT_ONCE,
            connections=connections,
            brief=True,
        )
        for number, (protocol, connections, rate_rps) in enumerate(_RATES)
    ]
    with check.phase("measure"), contextlib.ExitStack() as stack:
        running = tuple(stack.enter_context(client.app.traffic(plan)) for plan in plans)
        traffic = Continuous(server, running, times * _RATES[0][2])
        yield traffic
        traffic.until_enough()
    with check.phase("reconcile"):
        _judge(check, [outcome for traffic in running for outcome in traffic.stop().outcomes])


def _judge(check: Check, outcomes: list[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if not outcome.ok]
    moments = sorted(outcome.intended_ns for outcome in outcomes)
    lasted_s = (moments[-1] - moments[0]) / 1e9
    check.control(len(outcomes) >= LEAST_RPS * lasted_s, f"at least {LEAST_RPS:g} calls a second")
    n = len(outcomes)
    check.measured(len(failed), "failed", interval=(0.0, n * upper_bound_of_zero(n)), n=n)
    told = [(o.id, o.status, o.error, o.pod) for o in failed[:5]]
    check.equal(told, [], f"failed requests ({len(failed)} of {n}) in {lasted_s:.1f} s")
