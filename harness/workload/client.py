"""The application container of a workload pod, driven over its control port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.errors import ClusterError
from harness.waiting import until
from harness.workload.calls import Caller
from harness.workload.control import WORKLOAD_PORT, Control
from harness.workload.records import Attempt, Connections, Ledger, LedgerSummary

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from harness.cluster import Cluster

__all__ = ["Workload"]


class Workload(Caller):
    """
    An application: what it received, and calls that it makes.

    open: makes an HTTP client whose base URL is the control port.
    name: `namespace/pod`, for messages.
    """

    def __init__(self, open: Callable[[], httpx2.Client], name: str) -> None:  # noqa: A002
        self.name = name
        super().__init__(Control(open, name))

    @classmethod
    def of_pod(cls, cluster: Cluster, namespace: str, pod: str) -> Workload:
        """Reach the application of a pod through the cluster's API server."""
        return cls(lambda: cluster.pod_http(namespace, pod, WORKLOAD_PORT), f"{namespace}/{pod}")

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
                raise ClusterError(f"{self.name}: restarted while its ledger was read")
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
            lambda: self._page(since=2**62)[0],
            what=f"no attempt in progress at {self.name}",
            timeout_s=timeout_s,
            interval_s=0.02,
            holds=lambda summary: summary.in_progress == 0,
        )
        return self.ledger(since)

    def connections(self) -> Connections:
        """Connections that the application accepted since the last reset."""
        return msgspec.json.decode(self._control.request("GET", "/connections"), type=Connections)

    def reset(self) -> LedgerSummary:
        """Forget attempts, ids and closed connections; sequence numbers go on."""
        return msgspec.json.decode(self._control.request("POST", "/reset"), type=LedgerSummary)

    def set_ready(self, ready: bool) -> None:
        """Make the readiness probe succeed or fail from now on."""
        self._control.request("POST", f"/ready/{str(ready).lower()}")

    def _page(self, since: int) -> tuple[LedgerSummary, list[Attempt]]:
        lines = self._control.lines("GET", f"/ledger?since={since}", timeout_s=60.0)
        summary = msgspec.json.decode(next(lines), type=LedgerSummary)
        return summary, [msgspec.json.decode(line, type=Attempt) for line in lines]
