"""Client and server of the workload, over the loopback and through the Python client."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING

import pytest

from harness.errors import ClusterError, UsageError
from harness.workload import Body, Http1, Messages, Plan, Tcp, Workload, steer

if TYPE_CHECKING:
    from tests.workload.conftest import Running


def test_client_and_server_agree_on_every_request(server: Running, workload: Workload) -> None:
    """Ids, bodies and hashes of both ledgers match, request by request."""
    plan = Plan(
        url=server.url(path="/a?b"),
        method="POST",
        id="agree",
        count=20,
        concurrency=4,
        body=Body(bytes=10_000, seed=7),
        steer=steer(size=5000, seed=9),
    )
    outcomes = workload.call(plan)
    attempts = workload.settled().by_id()

    assert [outcome.id for outcome in outcomes] == [f"agree-{n}" for n in range(20)]
    for outcome in outcomes:
        (attempt,) = attempts[outcome.id or ""]
        assert outcome.ok
        assert (attempt.method, attempt.target) == ("POST", "/a?b")
        assert (attempt.body_bytes, attempt.body_sha256) == (10_000, outcome.sent_sha256)
        assert (outcome.body_bytes, outcome.body_sha256) == (5000, attempt.sent_sha256)


def test_fail_until_counts_attempts_of_an_id(server: Running, workload: Workload) -> None:
    """The application fails the first attempts of an id, as a retry check needs."""
    plan = Plan(
        url=server.url(), headers=[("x-meshmark-id", "same")], count=3, steer=steer(fail_until=3)
    )

    assert [outcome.status for outcome in workload.call(plan)] == [503, 503, 200]
    assert [attempt.attempt for attempt in workload.settled().attempts] == [1, 2, 3]


@pytest.mark.parametrize(
    ("instructions", "kind"),
    [
        ({"reset": "request"}, "reset"),
        ({"reset": "headers", "size": 10}, "reset"),
        ({"close": "request"}, "eof"),
        ({"close": "body", "size": 100_000}, "eof"),
    ],
)
def test_steered_cuts_are_told_apart(
    server: Running, workload: Workload, instructions: dict[str, str | int], kind: str
) -> None:
    """A reset is not an end of stream, neither for the client nor in the ledger."""
    outcome = workload.one(Plan(url=server.url(), steer=steer(**instructions)))

    assert outcome.error is not None
    assert outcome.error.kind == kind
    (attempt,) = workload.settled().attempts
    assert attempt.outcome == "steered"


def test_a_refused_connection_is_an_outcome(workload: Workload) -> None:
    """Nothing listens: the outcome says so; the call itself is no error of the harness."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    outcome = workload.one(Plan(url=f"http://127.0.0.1:{port}/"))

    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.phase) == ("refused", "connect")


def test_connections_are_reused_or_fresh(server: Running, workload: Workload) -> None:
    """The client keeps connections or opens one per call, and the server counts them."""
    workload.call(Plan(url=server.url(), count=10))
    assert workload.connections().opened == 1

    workload.reset()
    workload.call(Plan(url=server.url(), count=10, connections=0))
    facts = workload.connections()
    assert facts.opened == 10
    assert facts.open_high <= 2


def test_fields_keep_case_and_order(server: Running, workload: Workload) -> None:
    """Both directions report fields as they were on the wire."""
    sent = [("B-Field", "1"), ("a-field", "2"), ("B-Field", "3")]
    outcome = workload.one(
        Plan(url=server.url(), headers=sent, steer="header=Zz:1;header=aA:2;header=Zz:3")
    )
    (attempt,) = workload.settled().attempts

    assert [item for item in attempt.headers if item[0].lower().endswith("-field")] == sent
    received = [item for item in outcome.headers if item[0] in {"Zz", "aA"}]
    assert received == [("Zz", "1"), ("aA", "2"), ("Zz", "3")]


def test_interim_responses_trailers_and_expectation(server: Running, workload: Workload) -> None:
    """100 and 103 are reported, and trailers of both directions arrive."""
    plan = Plan(
        url=server.url(),
        method="PUT",
        body=Body(bytes=10, chunked=True),
        trailers=[("x-check", "sum")],
        http1=Http1(expect=True),
        steer=steer(interim=103, trailers=True, size=10),
    )
    outcome = workload.one(plan)
    (attempt,) = workload.settled().attempts

    assert [interim.status for interim in outcome.interim] == [100, 103]
    assert ("x-meshmark-sha256", outcome.body_sha256) in outcome.trailers
    assert attempt.trailers == [("x-check", "sum")]


def test_old_and_rare_request_forms(server: Running, workload: Workload) -> None:
    """HTTP/1.0 without Host, absolute form, HEAD and 304 are carried as asked."""
    plain = workload.one(Plan(url=server.url(), http1=Http1(version="1.0", no_host=True)))
    absolute = workload.one(Plan(url=server.url(), http1=Http1(target="http://else/x", host="h")))
    head = workload.one(Plan(url=server.url(), method="HEAD", steer=steer(size=77)))
    unchanged = workload.one(Plan(url=server.url(), steer=steer(status=304)))
    first, second, *_ = workload.settled().attempts

    assert (plain.version, plain.status, plain.end) == ("HTTP/1.0", 200, None)
    assert (first.protocol, first.authority) == ("HTTP/1.0", None)
    assert (second.target, second.authority, absolute.status) == ("http://else/x", "h", 200)
    assert (head.header("content-length"), head.body_bytes) == ("77", 0)
    assert (unchanged.status, unchanged.body_bytes) == (304, 0)


def test_what_is_not_http_is_refused_and_recorded(server: Running, workload: Workload) -> None:
    """A message that two readers could read differently never counts as a request."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    outcome = workload.one(Plan(url=server.url(), http1=Http1(raw_hex=raw.hex())))
    (attempt,) = workload.settled().attempts

    assert outcome.status == 400
    assert attempt.outcome == "malformed"
    assert "Transfer-Encoding" in attempt.note


@pytest.mark.parametrize("speech", ["tcp", "banner"])
def test_tcp_echo_with_half_close(server: Running, workload: Workload, speech: str) -> None:
    """Both kinds of TCP server give every byte back and end after the client did."""
    plan = Plan(
        url=server.url(speech, ""),
        protocol="tcp",
        id="echo",
        messages=Messages(count=3, bytes=1000),
        tcp=Tcp(greeted=speech == "banner"),
    )
    outcome = workload.one(plan)
    (attempt,) = workload.settled().attempts

    assert (outcome.end, outcome.error) == ("fin", None)
    assert outcome.body_sha256 == outcome.sent_sha256 == attempt.body_sha256
    assert attempt.id == "echo-0"


def test_an_answer_after_the_clients_end_needs_half_close(
    server: Running, workload: Workload
) -> None:
    """The server answers once the client is done sending: all of it arrives."""
    plan = Plan(url=server.url("tcp", ""), protocol="tcp", id="late", steer=steer(size=50_000))
    outcome = workload.one(plan)

    assert (outcome.body_bytes, outcome.end) == (50_000, "fin")


def test_traffic_runs_until_it_is_stopped(server: Running, workload: Workload) -> None:
    """An open loop keeps its rate, and nothing is lost between its counts and its outcomes."""
    with workload.traffic(Plan(url=server.url(), rate_rps=200, concurrency=8)) as traffic:
        traffic.wait_calls(20)
    result = traffic.stop()

    assert not result.failed
    assert len(result.outcomes) == result.summary.calls == result.summary.results["200"]
    assert len(workload.settled().attempts) == result.summary.calls
    due = [outcome.intended_ns for outcome in sorted(result.outcomes, key=lambda each: each.n)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert sum(gaps) / len(gaps) == pytest.approx(5e6, rel=0.1)


def test_a_pod_is_steered_as_a_whole(server: Running, workload: Workload) -> None:
    """A standing instruction holds until a request or a later one says otherwise."""
    workload.steer(steer(status=500, size=3))
    plain = workload.one(Plan(url=server.url()))
    own = workload.one(Plan(url=server.url(), steer=steer(status=404)))
    workload.steer("")
    after = workload.one(Plan(url=server.url()))

    assert [each.status for each in (plain, own, after)] == [500, 404, 200]
    assert (plain.body_bytes, own.body_bytes) == (3, 3)


def test_ten_thousand_fields_pass(server: Running, workload: Workload) -> None:
    """A head of ten thousand fields arrives whole; the record keeps the first of them."""
    fields = [(f"x-field-{n}", "v" * 40) for n in range(10_000)]
    outcome = workload.one(Plan(url=server.url(), headers=fields))
    (attempt,) = workload.settled().attempts

    assert outcome.status == 200
    assert (attempt.header_count, len(attempt.headers)) == (10_001, 256)


def test_a_slow_reader_gets_everything(server: Running, workload: Workload) -> None:
    """Reading slowly slows the sender down and loses nothing."""
    plan = Plan(url=server.url(), steer=steer(size=200_000, seed=4), read_rate=1_000_000)
    outcome = workload.one(plan)
    (attempt,) = workload.settled().attempts

    assert outcome.body_sha256 == attempt.sent_sha256
    assert outcome.ended_after_ns > 180_000_000


def test_how_connections_end_is_counted(server: Running, workload: Workload) -> None:
    """A server that announces its close is told apart from one that just closes."""
    plan = Plan(url=server.url(), count=3, steer=steer(connection="close"))
    with workload.traffic(plan) as traffic:
        traffic.wait_calls(0)
    summary = traffic.stop().summary

    assert (summary.connections, summary.ends) == (3, {"announced": 3})


def test_a_delay_is_felt_and_a_deadline_ends_it(server: Running, workload: Workload) -> None:
    """A response later than the deadline is a timeout, and the server sees the client leave."""
    outcome = workload.one(Plan(url=server.url(), steer=steer(delay="5s"), deadline_s=0.2))
    (attempt,) = workload.settled().attempts

    assert outcome.error is not None
    assert outcome.error.kind == "timeout"
    assert attempt.outcome == "abandoned"
    assert attempt.finished_ns - attempt.arrived_ns < 1_000_000_000


def test_mistakes_are_named(server: Running, workload: Workload) -> None:
    """A plan or a steering header with an unknown word is refused, not ignored."""
    with pytest.raises(UsageError, match="ftp"):
        workload.call(Plan(url="http://a/", protocol="ftp"))  # type: ignore[arg-type]
    outcome = workload.one(Plan(url=server.url(), steer="statsu=500", keep_bytes=100))
    assert outcome.status == 400
    assert "statsu" in outcome.body_head


def test_readiness_follows_the_switch(workload: Workload) -> None:
    """A pod can be made unready and ready again."""
    assert workload.is_ready()
    workload.set_ready(ready=False)
    assert not workload.is_ready()
    workload.set_ready(ready=True)
    assert workload.is_ready()


def test_a_dead_control_port_is_an_error_of_the_cluster(
    server: Running, workload: Workload
) -> None:
    """Nobody answers on the control port: the error names the pod."""
    server.terminate()
    with pytest.raises(ClusterError, match="test/pod-1"):
        workload.ledger()
