"""Captures of the helper; they need the right to open packet sockets, as its container has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.workload import Helper, Plan, Workload

if TYPE_CHECKING:
    from tests.workload.conftest import Running

pytestmark = pytest.mark.cluster


def test_a_canary_is_seen_and_an_absent_one_is_not(
    server: Running, workload: Workload, helper: Helper
) -> None:
    """The capture finds what was sent, counts it by port and knows its start."""
    port = server.ports["http"]
    with helper.capture([b"canary-7f3a", b"never-sent"], interface="lo", ports=[port]) as capture:
        workload.one(Plan(url=server.url(), headers=[("x-canary", "canary-7f3a")]))
    found = capture.stop()

    assert found.is_complete
    assert found.matches == [1, 0]
    assert found.finds[0].destination == f"127.0.0.1:{port}"
    assert found.sent_to[port].opened == 1
    request = next(flow for flow in found.flows if flow.destination.endswith(f":{port}"))
    assert request.start_bytes.startswith(b"GET / HTTP/1.1\r\n")
    assert not request.is_tls
