"""How requests are shared out over the pods of a service."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.plugin import check
from harness.stats import equivalence
from harness.stats.shares import clopper_pearson
from harness.waiting import until
from harness.workload.plans import Plan, steer
from suites.conformance.continuity import SERVED_S
from suites.conformance.joining import deliver_all

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

REPLICAS = 3
DELTA = 0.10
"""A share that is off by ten points or more must not pass."""

ROUNDS = 3
"""How often at most a round is made, with new pods, while single pods have stalls of their own."""

DISTURBED = 1.15
"""
How much longer one pod's slowest call may take than another's. A balancer that goes by the peak of
latency takes a share away from a pod that was late once, and for longer than a round lasts.
"""

IN_PROGRESS = 24
"""Calls in progress at once, so that every pod has some at any time."""

_ARMS: tuple[tuple[Literal["h1", "grpc"], int], ...] = (("h1", IN_PROGRESS), ("grpc", 1))
"""Protocols and how many connections the client keeps: as many as callers, and a single one."""

COMPARISONS = REPLICAS * len(_ARMS) * ROUNDS
"""Pods, protocols and rounds: each comparison gets this part of the check's error rate of 0.1 %."""

SLOW_SHARE = 1 / 6
"""A pod that is slow gets at most half of its part from a balancer that goes by latency."""

SLOW_MS = 100


@check("LB-01")
def test_shares_are_equal(check: Check, lab: Lab, world: World) -> None:
    """Requests, not connections, are spread over three equal pods, by HTTP/1.1 and by gRPC."""
    design = equivalence.plan(1 / REPLICAS, DELTA, alpha=1e-3 / COMPARISONS)
    for protocol, connections in _ARMS:
        for number in range(ROUNDS):
            plan = Plan(
                url="",
                protocol=protocol,
                id=f"{check.id}-{protocol}-{number}",
                # As long as the work of a real request, so that the noise of a busy machine
                # does not make the pods look unequal to a balancer that goes by latency.
                steer=steer(delay="50ms"),
                count=design.n,
                concurrency=IN_PROGRESS,
                connections=connections,
                brief=True,
            )
            shares = _spread(check, lab, world, plan)
            even = all(design.accepts(hits) for hits in shares.hits)
            if even or shares.pods_equal:
                break
        worst = max(shares.hits, key=lambda hits: abs(hits / design.n - 1 / REPLICAS))
        check.measured(
            worst / design.n,
            f"share furthest from 1/3, over {protocol}",
            interval=clopper_pearson(worst, design.n),
            n=design.n,
        )
        check.control(
            even or shares.pods_equal,
            f"equally fast pods in one of {ROUNDS} rounds of {protocol}",
            seen=f"slowest calls of {shares.slowest_ms} ms, {shares.hits} requests",
        )
        check.expect(
            even,
            f"{protocol} requests per pod",
            expected=f"{design.low} to {design.high} of {design.n} each",
            seen=shares.hits,
        )


@dataclasses.dataclass(frozen=True)
class _Shares:
    """Requests of each pod, and the longest that each took, in the order of the pods' names."""

    hits: list[int]
    slowest_ms: list[float]

    @property
    def pods_equal(self) -> bool:
        """Whether no pod had a stall of its own; without calls to compare, they count as equal."""
        some = [slowest for slowest in self.slowest_ms if slowest]
        return max(some) <= DISTURBED * min(some)


def _spread(check: Check, lab: Lab, world: World, plan: Plan) -> _Shares:
    """Make the calls of a plan to new pods, which no balancer remembers anything of."""
    with lab.space(plan.id.lower()) as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=REPLICAS)
        with check.phase("converge"):
            _until_each_answers(check, world.client, server)
        with check.phase("measure"):
            plan = msgspec.structs.replace(plan, url=server.url())
            outcomes = [outcome for outcome, _ in deliver_all(check, world.client, server, plan)]
        with check.phase("reconcile"):
            used = {outcome.connection for outcome in outcomes}
            check.equal(len(used), plan.connections, f"connections of the {plan.protocol} client")
        times = {name: [0.0] for name in server.pod_names()}
        for outcome in outcomes:
            times[outcome.pod or ""].append(outcome.ended_after_ns / 1e6)
        return _Shares(
            [len(of_pod) - 1 for of_pod in times.values()],
            [round(max(of_pod), 1) for of_pod in times.values()],
        )


@check("LB-04")
def test_slow_pod_gets_less(check: Check, lab: Lab, world: World) -> None:
    """A pod that answers late gets a smaller share, though it never has a request waiting."""
    design = equivalence.plan(SLOW_SHARE, 1 / REPLICAS - SLOW_SHARE)
    with lab.space("lb-04") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=REPLICAS)
            slow, *_ = server.pod_names()
        with check.phase("converge"):
            _until_each_answers(check, world.client, server)
            server.instance(slow).steer(steer(delay=f"{SLOW_MS}ms"))
        with check.phase("measure"):
            # One call at a time: the number in progress tells the balancer nothing.
            plan = Plan(url=server.url(), id=check.id, count=design.n, brief=True)
            delivered = deliver_all(check, world.client, server, plan)
            hits = sum(outcome.pod == slow for outcome, _ in delivered)
            interval = clopper_pearson(hits, design.n)
            share = hits / design.n
            check.measured(share, "share of the slow pod", interval=interval, n=design.n)
            check.expect(
                hits <= design.high,
                "requests of the slow pod",
                expected=f"at most {design.high} of {design.n}",
                seen=hits,
            )


def _until_each_answers(check: Check, client: Member, server: Member) -> None:
    """
    Return when every pod of the server has answered the client.

    A pod that is ready is an endpoint a moment later: until then the others get its share, which
    is the platform's doing and no balancer's. Raises NotInTime.
    """
    numbers = itertools.count()
    pods, answered = server.pod_names(), Counter[str]()

    def call() -> Counter[str]:
        plan = Plan(url=server.url(), id=f"{check.id}-reach-{next(numbers)}", count=20, brief=True)
        answered.update(outcome.pod for outcome in client.app.call(plan) if outcome.pod)
        return answered

    until(
        call,
        what=f"an answer of each of {len(pods)} pods of {server.host}",
        holds=lambda answered: set(pods) <= answered.keys(),
        timeout_s=SERVED_S,
    )
