"""HTTP/2, gRPC and WebSocket between client and server of the workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.waiting import until
from harness.workload import Body, Http1, Messages, Plan, Workload, steer

if TYPE_CHECKING:
    from tests.workload.conftest import Running


def test_http2_multiplexes_on_one_connection(server: Running, workload: Workload) -> None:
    """Many streams, one connection, and hashes that agree."""
    plan = Plan(
        url=server.url(path="/two"),
        protocol="h2",
        method="POST",
        id="two",
        count=50,
        concurrency=10,
        body=Body(bytes=70_000, seed=3),
        trailers=[("x-check", "sum")],
        steer=steer(echo=True, trailers=True),
    )
    outcomes = workload.call(plan)
    attempts = workload.settled().by_id()

    assert workload.connections().opened == 1
    for outcome in outcomes:
        (attempt,) = attempts[outcome.id or ""]
        assert (outcome.ok, outcome.version) == (True, "HTTP/2.0")
        assert outcome.sent_sha256 == outcome.body_sha256 == attempt.body_sha256
        assert ("x-meshmark-trailer", "1") in outcome.trailers
        assert (attempt.protocol, attempt.target, attempt.scheme) == ("HTTP/2.0", "/two", "http")
        assert attempt.trailers == [("x-check", "sum")]


def test_http2_resets_carry_their_code(server: Running, workload: Workload) -> None:
    """A steered RST_STREAM arrives with its code and leaves the connection alone."""
    plan = Plan(url=server.url(), protocol="h2", count=2, steer=steer(reset="body", reset_code=7))
    outcomes = workload.call(plan)

    assert [outcome.error and outcome.error.code for outcome in outcomes] == [7, 7]
    assert workload.connections().opened == 1


def test_http2_interim_responses(server: Running, workload: Workload) -> None:
    """Early hints arrive before the response."""
    outcome = workload.one(Plan(url=server.url(), protocol="h2", steer=steer(interim=103)))

    assert [interim.status for interim in outcome.interim] == [103]
    assert outcome.status == 200


def test_a_cancelled_stream_is_seen_by_the_server(server: Running, workload: Workload) -> None:
    """A client that gives up resets the stream, and the application knows at once."""
    plan = Plan(url=server.url(), protocol="h2", steer=steer(delay="9s"), cancel_after_ms=50)
    outcome = workload.one(plan)
    (attempt,) = workload.settled().attempts

    assert outcome.error is not None
    assert outcome.error.kind == "cancelled"
    assert attempt.outcome == "abandoned"
    assert attempt.finished_ns - attempt.arrived_ns < 1_000_000_000


@pytest.mark.parametrize("messages", [Messages(), Messages(count=20, bytes=5000, lockstep=True)])
def test_grpc_messages_come_back(server: Running, workload: Workload, messages: Messages) -> None:
    """Unary and streaming calls of any method are echoed and end with status 0."""
    plan = Plan(url=server.url(path="/any.Service/Method"), protocol="grpc", messages=messages)
    outcome = workload.one(plan)

    assert (outcome.grpc_status, outcome.messages_received) == (0, messages.count)
    assert outcome.body_sha256 == outcome.sent_sha256
    (attempt,) = workload.settled().attempts
    assert (attempt.method, attempt.target) == ("POST", "/any.Service/Method")


def test_grpc_carries_a_given_message(server: Running, workload: Workload) -> None:
    """A message of one's own is sent as it is, framed as gRPC wants it."""
    messages = Messages(payload_hex=b"a token".hex())
    outcome = workload.one(
        Plan(url=server.url(), protocol="grpc", messages=messages, keep_bytes=100)
    )

    assert outcome.body_head == "\0\0\0\0\x07a token"


@pytest.mark.parametrize("more", [{}, {"trailers_only": True}])
def test_grpc_status_as_steered(server: Running, workload: Workload, more: dict[str, bool]) -> None:
    """A status arrives in the trailers, or alone in the response's head."""
    plan = Plan(url=server.url(), protocol="grpc", steer=steer(grpc_status=7, messages=0, **more))
    outcome = workload.one(plan)

    assert (outcome.status, outcome.grpc_status, outcome.ok) == (200, 7, False)


def test_websocket_messages_come_back(server: Running, workload: Workload) -> None:
    """Frames of all three length forms are echoed, then both sides close."""
    for size in (10, 1000, 70_000):
        plan = Plan(
            url=server.url(path="/ws"), protocol="ws", messages=Messages(count=5, bytes=size)
        )
        outcome = workload.one(plan)
        assert (outcome.status, outcome.messages_received, outcome.end) == (101, 5, "fin")
        assert outcome.body_sha256 == outcome.sent_sha256


def test_any_upgrade_and_connect_become_a_tunnel(server: Running, workload: Workload) -> None:
    """After 101, or 200 to CONNECT, bytes flow both ways until the client ends."""
    upgrade = Plan(
        url=server.url(),
        http1=Http1(upgrade="meshmark"),
        steer=steer(upgrade=True),
        messages=Messages(count=2, bytes=500),
    )
    connect = Plan(url=server.url(), method="CONNECT", http1=Http1(target="a:1"))
    first, second = workload.one(upgrade), workload.one(connect)

    assert (first.status, first.body_sha256) == (101, first.sent_sha256)
    assert (second.status, second.body_bytes) == (200, 16)


def test_a_long_stream_ends_in_order_when_stopped(server: Running, workload: Workload) -> None:
    """Traffic of one endless stream reports no error when it is stopped."""
    plan = Plan(
        url=server.url(),
        protocol="grpc",
        count=1,
        deadline_s=30,
        messages=Messages(count=0, pace_ms=5, lockstep=True),
    )
    with workload.traffic(plan) as traffic:
        workload_sees = workload.ledger().summary.in_progress
    result = traffic.stop()

    assert workload_sees in {0, 1}
    (outcome,) = result.outcomes
    assert (outcome.ok, outcome.messages_received) == (True, outcome.messages_sent)


def test_draining_finishes_what_is_in_progress(
    server: Running, workload: Workload, client: Workload
) -> None:
    """SIGTERM lets a slow response end, on HTTP/1 and HTTP/2, and says that all was in time."""
    slow = steer(delay="300ms")
    with (
        client.traffic(Plan(url=server.url(), count=1, steer=slow)) as first,
        client.traffic(Plan(url=server.url(), protocol="h2", count=1, steer=slow)) as second,
    ):
        until(
            lambda: workload.ledger().summary.in_progress == 2,
            what="two requests in progress",
            timeout_s=5,
            interval_s=0.01,
        )
        printed = server.terminate()

    assert not first.stop().failed
    assert not second.stop().failed
    assert next(line for line in printed if line["event"] == "drained")["in_time"]
