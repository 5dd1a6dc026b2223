"""What an application calls first and last: its sidecar must be there before it and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.workload.plans import Plan

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.member import Member

__all__ = ["FirstAndLast"]


class FirstAndLast:
    """
    Calls of pods to one server, each made as its application starts and as it is told to end.

    arguments: what the application has to be started with.
    """

    def __init__(self, check: Check, server: Member) -> None:
        self._check = check
        self._server = server
        self._plans = {
            moment: Plan(url=server.url(), id=f"{check.id}-{moment}", deadline_s=5.0)
            for moment in ("start", "term")
        }
        self._since = server.app.summary().last
        self.arguments = tuple(
            word
            for moment, plan in self._plans.items()
            for word in (f"--on-{moment}", plan.json().decode())
        )

    def all_known(self, member: Member, pods: int) -> None:
        """Fail the check unless so many pods made both calls, known as this member each time."""
        arrived = self._server.app.settled(self._since).by_id()
        seen = {
            moment: [self._server.told(attempt) for attempt in arrived.get(f"{plan.id}-0", [])]
            for moment, plan in self._plans.items()
        }
        self._check.measured(sum(map(len, seen.values())), "calls", n=2 * pods)
        everyone = [(member.identity,)] * pods
        expected = dict.fromkeys(self._plans, everyone)
        self._check.equal(seen, expected, "identities of first and last calls")
