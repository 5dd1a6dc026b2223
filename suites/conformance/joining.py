"""Joining what clients saw with what applications recorded, request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.workload.records import Attempt, Outcome, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.plugin import Check
    from harness.workload.plans import Plan
    from suites.member import Member

__all__ = ["Pair", "deliver", "deliver_all", "deliver_each", "pairs", "refusal"]

Pair = tuple[Outcome, Attempt]


def deliver(check: Check, caller: Member, server: Member, plan: Plan) -> Pair:
    """Make one call that must end well and arrive exactly once."""
    (pair,) = deliver_all(check, caller, server, plan)
    return pair


def deliver_all(check: Check, caller: Member, server: Member, plan: Plan) -> list[Pair]:
    """Make the calls of a plan, each of which must end well and arrive exactly once."""
    return deliver_each(check, caller, server, [plan])


def deliver_each(check: Check, caller: Member, server: Member, plans: Sequence[Plan]) -> list[Pair]:
    """Make the calls of several plans, one after another; the plans' ids must differ."""
    applications = list(server.apps.values())
    since = [application.summary().last for application in applications]
    client = caller.app
    way = f"{plans[0].protocol} from {caller.role.name} to {plans[0].url}"
    outcomes = [outcome for plan in plans for outcome in client.call(plan)]
    told = [f"{outcome.id}: {refusal(outcome)}" for outcome in outcomes if not outcome.ok]
    check.expect(not told, f"calls over {way}", expected="no failure", seen=told[:3])
    arrived = [
        attempt
        for application, seen in zip(applications, since, strict=True)
        for attempt in application.settled(seen).attempts
    ]
    return pairs(check, outcomes, arrived, way)


def pairs(
    check: Check, outcomes: Iterable[Outcome], attempts: Iterable[Attempt], way: str
) -> list[Pair]:
    """Each outcome with its attempt; fails unless each request arrived exactly once."""
    by_id: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_id.setdefault(attempt.id or "", []).append(attempt)
    made = [(outcome, by_id.get(outcome.id or "", [])) for outcome in outcomes]
    wrong = {outcome.id: len(found) for outcome, found in made if len(found) != 1}
    check.expect(
        not wrong, f"arrivals over {way}", expected="one each", seen=dict(list(wrong.items())[:5])
    )
    return [(outcome, found[0]) for outcome, found in made]


def refusal(outcome: Outcome) -> str:
    """What a client was told, in a word or two: `200`, `403`, `grpc 7`, `reset`, `eof`."""
    if outcome.error is not None:
        return outcome.error.kind
    told = field(outcome.headers, "content-type") or ""
    if told.startswith("application/grpc"):
        return f"grpc {outcome.grpc_status}"
    return str(outcome.status)
