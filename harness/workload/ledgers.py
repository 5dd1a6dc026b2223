"""Reading ledgers and connection counts: of applications and of rogue servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.errors import ClusterError
from harness.waiting import until
from harness.workload.records import Attempt, Connections, Ledger, LedgerSummary

if TYPE_CHECKING:
    from harness.workload.control import Control

__all__ = ["Recorder"]

_PAGE_S = 60.0


class Recorder:
    """A container that records what it receives."""

    _control: Control

    def ledger(self, since: int = 0) -> Ledger:
        """
        Attempts with a `seq` above `since`, all pages of them.

        Raises:
            ClusterError: the process restarted between two pages, so records are gone.

        """
        summary, attempts = self._page(since)
        while attempts and attempts[-1].seq < summary.last:
            latest, more = self._page(attempts[-1].seq)
            if latest.boot != summary.boot:
                name = self._control.name
                raise ClusterError(f"{name}: restarted while its ledger was read")
            if not more:
                break
            attempts += more
        return Ledger(summary, attempts)

    def settled(self, since: int = 0, *, timeout_s: float = 5.0) -> Ledger:
        """
        The ledger once no attempt is in progress: what a response's reader may count on.

        Raises:
            NotInTime: attempts were still in progress after `timeout_s`.

        """
        until(
            self.summary,
            what=f"no attempt in progress at {self._control.name}",
            timeout_s=timeout_s,
            interval_s=0.02,
            holds=lambda summary: summary.in_progress == 0,
        )
        return self.ledger(since)

    def summary(self) -> LedgerSummary:
        """The ledger's counts alone."""
        return self._page(since=2**62)[0]

    def connections(self) -> Connections:
        """Connections that were accepted since the last reset."""
        return msgspec.json.decode(self._control.request("GET", "/connections"), type=Connections)

    def reset(self) -> LedgerSummary:
        """Forget attempts, ids and closed connections; sequence numbers go on."""
        return msgspec.json.decode(self._control.request("POST", "/reset"), type=LedgerSummary)

    def steer(self, instructions: str) -> None:
        """
        Steer every request from now on, as far as it says nothing else itself; see `plans.steer`.

        A slow or failing pod among good ones is made this way. An empty text ends it.
        """
        self._control.request("POST", "/steer", body=instructions.encode())

    def _page(self, since: int) -> tuple[LedgerSummary, list[Attempt]]:
        lines = self._control.lines("GET", f"/ledger?since={since}", timeout_s=_PAGE_S)
        summary = msgspec.json.decode(next(lines), type=LedgerSummary)
        return summary, [msgspec.json.decode(line, type=Attempt) for line in lines]
