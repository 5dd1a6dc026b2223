"""
The test application and its helper container: one Rust program, driven by typed clients.

`Workload` is the application of a pod: its ledger, and calls that it makes. `Helper` is the
container beside it: captures, rogue peers, processes. `Plan` says what to call.
"""

from __future__ import annotations

from harness.workload.calls import Caller, RunningTraffic
from harness.workload.client import Workload
from harness.workload.findings import Findings, Flow
from harness.workload.helper import SIDECAR, Capture, Helper, Process, RogueServer
from harness.workload.plans import Body, Http1, Messages, Plan, Tcp, steer
from harness.workload.records import Attempt, Connections, Ledger, Outcome, Traffic
from harness.workload.rogue import (
    TRANSPORT_ALPN,
    RawBytes,
    TlsProbe,
    TlsReport,
    TransportHeader,
    h1,
    h2,
)

__all__ = [
    "SIDECAR",
    "TRANSPORT_ALPN",
    "Attempt",
    "Body",
    "Caller",
    "Capture",
    "Connections",
    "Findings",
    "Flow",
    "Helper",
    "Http1",
    "Ledger",
    "Messages",
    "Outcome",
    "Plan",
    "Process",
    "RawBytes",
    "RogueServer",
    "RunningTraffic",
    "Tcp",
    "TlsProbe",
    "TlsReport",
    "Traffic",
    "TransportHeader",
    "Workload",
    "h1",
    "h2",
    "steer",
]
