"""
The test application and its helper container: one Rust program, driven by typed clients.

`Workload` is the application of a pod: its ledger, and calls that it makes. `Helper` is the
container beside it: captures, rogue peers, processes. `Plan` says what to call.
"""

from __future__ import annotations

from harness.workload.calls import Caller, RunningTraffic
from harness.workload.client import Workload
from harness.workload.findings import Findings, Flow
from harness.workload.helper import Capture, Helper
from harness.workload.plans import Body, Http1, Messages, Plan, Tcp, steer
from harness.workload.records import Attempt, Connections, Ledger, Outcome, Traffic

__all__ = [
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
    "RunningTraffic",
    "Tcp",
    "Traffic",
    "Workload",
    "steer",
]
