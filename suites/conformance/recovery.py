"""Which requests the loss of a peer excuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.plugin import Check
    from harness.workload.records import Outcome

__all__ = ["RECOVERED_S", "judge"]

RECOVERED_S = 20.0
"""
Within this time of a loss no request may fail any more: a connection to a peer that is silent is
found dead by its pings after 13 s, and another one is made instead.
"""


def judge(check: Check, outcomes: Sequence[Outcome], before: int, deadline_s: float) -> None:
    """
    No request fails but those that the loss may have cost.

    before: how many calls had ended just before it. deadline_s: how long a call may take, so that
    one may fail that was due as long before.
    """
    lost_ns = sorted(outcome.intended_ns for outcome in outcomes)[before - 1]
    failed_s = sorted((o.intended_ns - lost_ns) / 1e9 for o in outcomes if not o.ok)
    check.evidence("failed requests", {"of": len(outcomes), "failed": len(failed_s)})
    check.measured(failed_s[-1] if failed_s else 0.0, "s", n=len(outcomes))
    excess_s = [due_s for due_s in failed_s if not -deadline_s <= due_s <= RECOVERED_S]
    check.expect(
        not excess_s,
        "failed requests by when they were due, in seconds from the loss",
        expected=f"at most {RECOVERED_S:g} s, and none before",
        seen=f"{len(failed_s)} of {len(outcomes)} failed, {len(excess_s)} not so: {excess_s[:5]}",
    )
