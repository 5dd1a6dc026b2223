"""How requests are shared out over the pods of a service."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from harness.plugin import check
from harness.stats import equivalence
from harness.stats.shares import clopper_pearson
from harness.workload.plans import Plan, steer
from suites.conformance.joining import deliver_all

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab

REPLICAS = 3
DELTA = 0.10
"""A share that is off by ten points or more must not pass."""

COMPARISONS = REPLICAS * 2
"""Pods times protocols: each comparison gets this part of the check's error rate of 0.1 %."""

IN_PROGRESS = 24
"""Calls in progress at once, so that every pod has some at any time."""

_ARMS: tuple[tuple[Literal["h1", "grpc"], int], ...] = (("h1", IN_PROGRESS), ("grpc", 1))
"""Protocols and how many connections the client keeps: as many as callers, and a single one."""

SLOW_SHARE = 1 / 6
"""A pod that is slow gets at most half of its part from a balancer that goes by latency."""

SLOW_MS = 100


@check("LB-01")
def test_shares_are_equal(check: Check, lab: Lab, world: World) -> None:
    """Requests, not connections, are spread over three equal pods, by HTTP/1.1 and by gRPC."""
    design = equivalence.plan(1 / REPLICAS, DELTA, alpha=1e-3 / COMPARISONS)
    with lab.space("lb-01") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=REPLICAS)
        for protocol, connections in _ARMS:
            plan = Plan(
                url=server.url(),
                protocol=protocol,
                id=f"{check.id}-{protocol}",
                # As long as the work of a real request, so that the noise of a busy machine
                # does not make the pods look unequal to a balancer that goes by latency.
                steer=steer(delay="50ms"),
                count=design.n,
                concurrency=IN_PROGRESS,
                connections=connections,
                brief=True,
            )
            with check.phase("measure"):
                delivered = deliver_all(check, world.client, server, plan)
                shares = Counter(outcome.pod for outcome, _ in delivered)
                hits = [shares[pod] for pod in server.pod_names()]
                worst = max(hits, key=lambda hit: abs(hit / design.n - 1 / REPLICAS))
                check.measured(
                    worst / design.n,
                    f"share furthest from 1/3, over {protocol}",
                    interval=clopper_pearson(worst, design.n),
                    n=design.n,
                )
                check.expect(
                    all(design.accepts(hit) for hit in hits),
                    f"{protocol} requests per pod",
                    expected=f"{design.low} to {design.high} of {design.n} each",
                    seen=hits,
                )
            with check.phase("reconcile"):
                used = {outcome.connection for outcome, _ in delivered}
                check.equal(len(used), connections, f"connections of the {protocol} client")


@check("LB-04")
def test_slow_pod_gets_less(check: Check, lab: Lab, world: World) -> None:
    """A pod that answers late gets a smaller share, though it never has a request waiting."""
    design = equivalence.plan(SLOW_SHARE, 1 / REPLICAS - SLOW_SHARE)
    with lab.space("lb-04") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=REPLICAS)
            slow, *_ = server.pod_names()
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
