"""The helper container of a workload pod: packets, rogue peers, processes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.errors import ClusterError
from harness.waiting import until
from harness.workload.calls import Caller
from harness.workload.control import CONTROL_PORTS, HELPER_PORT, SLACK_S, Control
from harness.workload.findings import Findings
from harness.workload.ledgers import Recorder
from harness.workload.plans import Plan
from harness.workload.records import Outcome
from harness.workload.rogue import RogueServerReport, TlsProbe, TlsReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import httpx2

    from harness.cluster import Cluster

__all__ = ["SIDECAR", "Capture", "Helper", "Process", "RogueServer"]

SIDECAR = "linkerd2-proxy"
"""Name of the sidecar's program in the process namespace that the pod's containers share."""

_KEEP_LIMIT_BYTES = 4 << 20

Signal = Literal["TERM", "KILL", "STOP", "CONT", "INT", "HUP", "USR1", "USR2"]


class Process(msgspec.Struct, frozen=True):
    """
    One process of the pod.

    state: letter of proc(5). start_ticks: tells a restarted process from the one before.
    pss_bytes and the like: None where the helper may not look.
    """

    pid: int
    parent: int
    name: str
    command: list[str]
    state: str
    uid: int
    start_ticks: int
    pss_bytes: int | None
    rss_bytes: int | None
    high_water_bytes: int | None
    threads: int | None


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
        answer = self._control.request("GET", f"/capture/{self._number}")
        return msgspec.json.decode(answer, type=Findings)

    def stop(self) -> Findings:
        """End the capture; packets that came before the request are still looked at."""
        if self.result is None:
            answer = self._control.request("DELETE", f"/capture/{self._number}")
            self.result = msgspec.json.decode(answer, type=Findings)
        return self.result


class RogueServer:
    """
    A rogue TLS server that runs.

    port: where it listens. result: what it saw; None until it ended.
    """

    def __init__(self, control: Control, number: int, port: int) -> None:
        self._control = control
        self._number = number
        self.port = port
        self.result: RogueServerReport | None = None

    def report(self) -> RogueServerReport:
        """What it saw so far."""
        if self.result is not None:
            return self.result
        answer = self._control.request("GET", f"/tls-server/{self._number}")
        return msgspec.json.decode(answer, type=RogueServerReport)

    def stop(self) -> RogueServerReport:
        """End it and every connection to it."""
        if self.result is None:
            answer = self._control.request("DELETE", f"/tls-server/{self._number}")
            self.result = msgspec.json.decode(answer, type=RogueServerReport)
        return self.result


class Helper(Caller, Recorder):
    """
    What runs beside application and sidecar with the rights to look and to harm.

    Its ledger holds what its rogue servers received.

    open: makes an HTTP client whose base URL is the control port.
    name: `namespace/pod`, for messages.
    """

    def __init__(self, open: Callable[[], httpx2.Client], name: str) -> None:  # noqa: A002
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

    def tls_probe(self, probe: TlsProbe) -> TlsReport:
        """
        Be a TLS client as told, and report what became of it. A refusal is a report.

        Raises:
            UsageError: the probe makes no sense (PEM, versions, names).

        """
        answer = self._control.request(
            "POST", "/tls-client", body=probe, timeout_s=probe.deadline_s + SLACK_S
        )
        return msgspec.json.decode(answer, type=TlsReport)

    @contextlib.contextmanager
    def tls_server(
        self,
        cert_pem: str,
        key_pem: str,
        *,
        port: int = 0,
        alpn: Sequence[str] = (),
        versions: Sequence[Literal["1.2", "1.3"]] = ("1.3",),
        ask_client: bool = True,
        http: bool = True,
    ) -> Iterator[RogueServer]:
        """
        Be a TLS server while a block of code runs; `result` is set when it ends.

        It accepts every client certificate, and none. A transport header is read where its ALPN
        protocol was negotiated. Then, with `http`, requests are answered and recorded in this
        helper's ledger; without it bytes are read, counted and never answered.

        port: 0 is chosen by the system.
        """
        order = {
            "address": f"0.0.0.0:{port}",
            "cert_pem": cert_pem,
            "key_pem": key_pem,
            "alpn": list(alpn),
            "versions": list(versions),
            "ask_client": ask_client,
            "http": http,
        }
        answer = msgspec.json.decode(self._control.request("POST", "/tls-server", body=order))
        server = RogueServer(self._control, answer["id"], answer["port"])
        try:
            yield server
        finally:
            server.stop()

    def raw(
        self,
        address: str,
        *sends: bytes | tuple[float, bytes],
        half_close: bool = False,
        limit_bytes: int | None = None,
        deadline_s: float = 5.0,
        keep_bytes: int = 4096,
    ) -> Outcome:
        """
        Send bytes over plain TCP and read until the peer ends, `limit_bytes` came, or time is up.

        sends: bytes, or a pause in seconds and bytes after it.
        The outcome's `end` tells how the peer ended; `error.kind` is `timeout` when it did not.
        """
        pairs = [(0.0, send) if isinstance(send, bytes) else send for send in sends]
        order: dict[str, object] = {
            "address": address,
            "steps": [
                {"hex": data.hex(), "pause_ms": round(pause_s * 1000)} for pause_s, data in pairs
            ],
            "half_close": half_close,
            "deadline_s": deadline_s,
            "keep_bytes": keep_bytes,
        }
        if limit_bytes is not None:
            order["limit_bytes"] = limit_bytes
        answer = self._control.request("POST", "/raw", body=order, timeout_s=deadline_s + SLACK_S)
        return msgspec.json.decode(answer, type=Outcome)

    def fetch(self, url: str, *, method: str = "GET") -> Outcome:
        """
        Make one HTTP request from the pod and keep its body (up to 4 MiB) as `body_head`.

        For admin ports: `fetch("http://127.0.0.1:4191/metrics").body_head`.
        """
        return self.one(Plan(url=url, method=method, keep_bytes=_KEEP_LIMIT_BYTES))

    def processes(self) -> list[Process]:
        """Every process that the pod's containers show each other, by number."""
        return msgspec.json.decode(self._control.request("GET", "/processes"), type=list[Process])

    def process(self, name: str = SIDECAR) -> Process:
        """
        Find the one live process of a program.

        Raises:
            ClusterError: there is none, or more than one.

        """
        found = [each for each in self.processes() if each.name == name and each.state != "Z"]
        if len(found) != 1:
            raise ClusterError(
                f"{self._control.name}: {len(found)} processes are called {name!r}, expected one; "
                "does the pod share its process namespace?"
            )
        return found[0]

    def signal(self, signal: Signal, *, name: str = SIDECAR, pid: int | None = None) -> list[int]:
        """Send a signal to the processes of a program, or to one; to which, by number."""
        order = {"signal": signal, "pid": pid} if pid else {"signal": signal, "name": name}
        answer = self._control.request("POST", "/signal", body=order)
        pids: list[int] = msgspec.json.decode(answer)["pids"]
        return pids

    @contextlib.contextmanager
    def paused(self, *, name: str = SIDECAR) -> Iterator[list[int]]:
        """Stop the processes of a program (SIGSTOP) while a block of code runs."""
        pids = self.signal("STOP", name=name)
        try:
            yield pids
        finally:
            for pid in pids:
                self.signal("CONT", pid=pid)

    def wait_restarted(self, before: Process, *, timeout_s: float = 30.0) -> Process:
        """
        Wait for the successor of a process that was killed.

        Raises:
            NotInTime: none came.

        """
        return until(
            lambda: self.process(before.name),
            what=f"a new {before.name} beside {self._control.name}",
            timeout_s=timeout_s,
            holds=lambda now: now.start_ticks != before.start_ticks,
        )
