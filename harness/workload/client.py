"""The application container of a workload pod, driven over its control port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.workload.calls import Caller
from harness.workload.control import WORKLOAD_PORT, Control
from harness.workload.ledgers import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from harness.cluster import Cluster

__all__ = ["Workload"]


class Workload(Caller, Recorder):
    """
    An application: what it received, and calls that it makes.

    open: makes an HTTP client whose base URL is the control port.
    name: `namespace/pod`, for messages.
    """

    def __init__(self, open: Callable[[], httpx2.Client], name: str) -> None:  # noqa: A002
        super().__init__(Control(open, name))

    @classmethod
    def of_pod(cls, cluster: Cluster, namespace: str, pod: str) -> Workload:
        """Reach the application of a pod through the cluster's API server."""
        return cls(lambda: cluster.pod_http(namespace, pod, WORKLOAD_PORT), f"{namespace}/{pod}")

    def set_ready(self, ready: bool) -> None:
        """Make the readiness probe succeed or fail from now on."""
        self._control.request("POST", f"/ready/{str(ready).lower()}")
