"""The helper container of a workload pod: packets, rogue peers, processes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from harness.workload.calls import Caller
from harness.workload.control import CONTROL_PORTS, HELPER_PORT, Control
from harness.workload.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import httpx2

    from harness.cluster import Cluster

__all__ = ["Capture", "Helper"]


class Capture:
    """
    A capture that runs.

    result: what it found; None until it ended.
    """

    def __init__(self, control: Control, number: int) -> None:
        self._control = control
        self._number = number
        self.result: Findings | None = None

    def findings(self) -> Findings:
        """What was found so far."""
        if self.result is not None:
            return self.result
        return decode(self._control.request("GET", f"/capture/{self._number}"))

    def stop(self) -> Findings:
        """End the capture; packets that came before the request are still looked at."""
        if self.result is None:
            self.result = decode(self._control.request("DELETE", f"/capture/{self._number}"))
        return self.result


class Helper(Caller):
    """
    What runs beside application and sidecar with the rights to look and to harm.

    open: makes an HTTP client whose base URL is the control port.
    name: `namespace/pod`, for messages.
    """

    def __init__(self, open: Callable[[], httpx2.Client], name: str) -> None:  # noqa: A002
        self.name = name
        super().__init__(Control(open, f"{name} (helper)"))

    @classmethod
    def of_pod(cls, cluster: Cluster, namespace: str, pod: str) -> Helper:
        """Reach the helper of a pod through the cluster's API server."""
        return cls(lambda: cluster.pod_http(namespace, pod, HELPER_PORT), f"{namespace}/{pod}")

    @contextlib.contextmanager
    def capture(
        self,
        patterns: Sequence[bytes] = (),
        *,
        interface: str | None = None,
        ports: Sequence[int] = (),
        ignore_ports: Sequence[int] = CONTROL_PORTS,
    ) -> Iterator[Capture]:
        """
        Look at the pod's packets while a block of code runs; `result` is set when it ends.

        patterns: each 4 to 4096 bytes; found across packets of a TCP connection too.
        interface: one interface (`lo` too); None is every one but the loopback.
        ports: only packets from or to these. ignore_ports: none from or to these.
        """
        order = {
            "patterns_hex": [pattern.hex() for pattern in patterns],
            "interface": interface,
            "ports": list(ports),
            "ignore_ports": list(ignore_ports),
        }
        answer = self._control.request("POST", "/capture", body=order)
        capture = Capture(self._control, msgspec.json.decode(answer)["id"])
        try:
            yield capture
        finally:
            capture.stop()


def decode(answer: bytes) -> Findings:
    """Read findings as the helper reports them."""
    return msgspec.json.decode(answer, type=Findings)
