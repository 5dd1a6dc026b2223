"""What HTTP promises beside plain requests and responses, across every way through the mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.plugin import check
from harness.workload.plans import Body, Http1, Messages, Plan, steer
from harness.workload.pods import HTTP_PORT
from harness.workload.records import field
from suites.conformance.joining import deliver, deliver_all, refusal
from suites.conformance.ways import Way, ways

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab

_VERSIONS: tuple[Literal["h1", "h2"], ...] = ("h1", "h2")
_LISTED = ("keep-alive", "proxy-connection", "upgrade")
_NAMED = ("x-of-this-hop", "trailer", "proxy-authenticate")
_OF_THE_HOP = (*_LISTED, *_NAMED)
"""
Fields that end with the connection: RFC 9110 section 7.6.1 lists the first three, which are to be
removed though `Connection` does not name them; of the others it is known because it names them.
"""

IN_PROGRESS = 8
CALLS = 400


@check("PR-05")
def test_parts_of_messages_survive(check: Check, world: World) -> None:
    """Trailers, informational responses, responses without content, chunks, upgrades."""
    with check.phase("measure"):
        for way in ways(world):
            for version in _VERSIONS:
                _trailers(check, way, version)
                _interim(check, way, version)
                _without_content(check, way, version)
            _continue(check, way)
            _chunks(check, way)
            _cut_short(check, way)
            _websocket(check, way)
            _other_upgrade(check, way)


@check("PR-06")
def test_fields_of_the_connection_end_with_it(check: Check, world: World) -> None:
    """What belongs to one connection is not passed on to the next, in either direction."""
    sent = [
        ("Connection", ", ".join(_NAMED)),
        ("X-Of-This-Hop", "1"),
        ("Trailer", "x-checksum"),
        ("Proxy-Authenticate", "Basic"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "x-meshmark"),
        ("TE", "trailers, deflate"),
        ("X-End-To-End", "1"),
    ]
    answered = ";".join(f"header={name}:{value}" for name, value in sent if name != "TE")
    with check.phase("control"):
        plan = Plan(url=world.plain.url(), headers=sent, steer=answered, id=check.id)
        outcome, attempt = deliver(check, world.outsider, world.plain, plan)
        check.control(attempt.header("te"), "without a proxy the application gets TE")
        for who, fields in (("application", attempt.headers), ("client", outcome.headers)):
            lost = [name for name in ("connection", *_OF_THE_HOP) if field(fields, name) is None]
            check.control(not lost, f"without a proxy the {who} gets all fields", seen=lost)
        te = _te_of_grpc(check, Way("without a proxy", world.outsider, world.plain))
        check.control(te == "trailers", "TE of gRPC arrives without a proxy", seen=te)
    with check.phase("measure"):
        for way in ways(world):
            plan = Plan(url=way.server.url(), headers=sent, steer=answered, id=check.id, count=2)
            for outcome, attempt in deliver_all(check, way.caller, way.server, plan):
                for who, fields in (("request", attempt.headers), ("response", outcome.headers)):
                    left = [name for name in _OF_THE_HOP if field(fields, name) is not None]
                    check.equal(left, [], f"fields of the hop in the {who} {way.name}")
                    connection = (field(fields, "connection") or "").lower()
                    kept = [name for name in _NAMED if name in connection]
                    check.equal(kept, [], f"fields that Connection names in the {who} {way.name}")
                    check.equal(field(fields, "x-end-to-end"), "1", f"other fields {way.name}")
                te = attempt.header("te")
                check.expect(
                    te in {None, "trailers"}, f"TE {way.name}", expected="trailers", seen=te
                )
            check.equal(_te_of_grpc(check, way), "trailers", f"TE of gRPC {way.name}")


@check("PR-11")
def test_old_and_odd_forms(check: Check, world: World) -> None:
    """HTTP/1.0 with and without Host, targets in absolute form, requests without Host."""
    with check.phase("measure"):
        for way in ways(world):
            _http_1_0(check, way)
            _absolute_form(check, way)
            _no_host(check, way)


@check("PR-13")
def test_connections_to_the_application_are_reused(check: Check, lab: Lab, world: World) -> None:
    """However many connections clients open, the application sees no more than it needs."""
    with lab.space("pr-13") as space:
        with check.phase("arrange"):
            server = space.deploy("server")
        most = 0
        for caller in (world.client, world.outsider):
            for protocol in _VERSIONS:
                with check.phase("measure"):
                    server.app.reset()
                    plan = Plan(
                        url=server.url(),
                        protocol=protocol,
                        id=f"{check.id}-{caller.role.name}-{protocol}",
                        steer=steer(delay="2ms"),
                        count=CALLS,
                        concurrency=IN_PROGRESS,
                        connections=0,
                    )
                    deliver_all(check, caller, server, plan)
                with check.phase("reconcile"):
                    opened = server.app.connections().opened
                    most = max(most, opened)
                    check.measured(most, "connections to the application at most", n=CALLS)
                    check.expect(
                        opened <= IN_PROGRESS,
                        f"connections to the application for {protocol} of {caller.role.name}",
                        expected=f"at most {IN_PROGRESS}, as many as requests in progress",
                        seen=f"{opened} for {CALLS} requests",
                    )


def _te_of_grpc(check: Check, way: Way) -> str | None:
    """What arrives of the `te: trailers` of a gRPC call, whose server may insist on it."""
    plan = Plan(url=way.server.url(), protocol="grpc", id=f"{check.id}-grpc")
    _, attempt = deliver(check, way.caller, way.server, plan)
    return attempt.header("te")


def _trailers(check: Check, way: Way, version: Literal["h1", "h2"]) -> None:
    plan = Plan(
        url=way.server.url("/trailers"),
        protocol=version,
        method="POST",
        headers=[("TE", "trailers")],
        id=f"{check.id}-trailers-{version}",
        steer=steer(trailers=True, size=100_000),
        body=Body(bytes=100_000, chunked=True),
        trailers=[("x-checksum", "abc")],
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    told = field(outcome.trailers, "x-meshmark-sha256")
    check.equal(told, outcome.body_sha256, f"{version} trailer of the response {way.name}")
    check.equal(
        field(attempt.trailers, "x-checksum"), "abc", f"{version} trailer of the request {way.name}"
    )
    check.equal(attempt.body_sha256, outcome.sent_sha256, f"{version} request body {way.name}")


def _interim(check: Check, way: Way, version: Literal["h1", "h2"]) -> None:
    plan = Plan(
        url=way.server.url("/interim"),
        protocol=version,
        id=f"{check.id}-interim-{version}",
        steer=steer(interim="103,102", delay="20ms"),
    )
    outcome, _ = deliver(check, way.caller, way.server, plan)
    seen = [(each.status, field(each.headers, "link") is not None) for each in outcome.interim]
    # An HTTP/2 application of this workload sends its informational responses without fields.
    expected = [(103, version == "h1"), (102, version == "h1")]
    check.equal(seen, expected, f"{version} informational responses {way.name}")


def _without_content(check: Check, way: Way, version: Literal["h1", "h2"]) -> None:
    """HEAD, 204 and 304 have no content, and the connection is good for the next request."""
    for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
        plan = Plan(
            url=way.server.url(f"/{method}/{status}"),
            protocol=version,
            method=method,
            id=f"{check.id}-{method}-{status}-{version}",
            steer=steer(status=status, size=1000),
            count=3,
            deadline_s=5.0,
        )
        outcomes = way.caller.app.call(plan)
        seen = [(refusal(outcome), outcome.body_bytes) for outcome in outcomes]
        what = f"{version} {method} answered {status} {way.name}"
        check.equal(seen, [(str(status), 0)] * 3, what)
        check.equal({outcome.connection for outcome in outcomes}, {1}, f"connections, {what}")
        if method == "HEAD":
            lengths = {outcome.header("content-length") for outcome in outcomes}
            check.equal(lengths, {"1000"}, f"content-length, {what}")


def _continue(check: Check, way: Way) -> None:
    plan = Plan(
        url=way.server.url("/continue"),
        method="POST",
        id=f"{check.id}-continue",
        body=Body(bytes=10_000),
        http1=Http1(expect=True),
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    asked = [interim.status for interim in outcome.interim]
    check.equal(asked, [100], f"informational responses to Expect {way.name}")
    check.equal(attempt.body_sha256, outcome.sent_sha256, f"body after 100 {way.name}")


def _chunks(check: Check, way: Way) -> None:
    for framing in ("chunked", "close", "length"):
        plan = Plan(
            url=way.server.url(f"/{framing}"),
            method="POST",
            id=f"{check.id}-{framing}",
            steer=steer(echo=True, framing=framing),
            body=Body(bytes=200_000, chunked=framing != "length", block=7000),
        )
        outcome, attempt = deliver(check, way.caller, way.server, plan)
        seen = (attempt.body_sha256, outcome.body_sha256)
        check.equal(seen, (outcome.sent_sha256,) * 2, f"bytes of a {framing} body {way.name}")


def _cut_short(check: Check, way: Way) -> None:
    """A response that ends early is never taken for a whole one."""
    for framing in ("chunked", "length"):
        plan = Plan(
            url=way.server.url("/cut"),
            steer=steer(size=500_000, framing=framing, close="body"),
            deadline_s=5.0,
        )
        told = refusal(way.caller.app.one(plan))
        check.expect(
            told in {"eof", "reset", "502"},
            f"a {framing} response cut short {way.name}",
            expected="an error",
            seen=told,
        )


def _websocket(check: Check, way: Way) -> None:
    plan = Plan(
        url=way.server.url("/socket"),
        protocol="ws",
        id=f"{check.id}-ws",
        messages=Messages(count=20, bytes=10_000, lockstep=True),
    )
    outcome, _ = deliver(check, way.caller, way.server, plan)
    seen = (outcome.messages_received, outcome.body_sha256)
    check.equal(seen, (20, outcome.sent_sha256), f"WebSocket messages back {way.name}")


def _other_upgrade(check: Check, way: Way) -> None:
    plan = Plan(
        url=way.server.url("/upgrade"),
        id=f"{check.id}-upgrade",
        steer=steer(upgrade=True),
        http1=Http1(upgrade="x-meshmark"),
        messages=Messages(count=5, bytes=1000),
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    check.equal(outcome.status, 101, f"status of an upgrade {way.name}")
    seen = (attempt.body_sha256, outcome.body_sha256)
    check.equal(seen, (outcome.sent_sha256,) * 2, f"bytes over an upgrade {way.name}")


def _http_1_0(check: Check, way: Way) -> None:
    for name, no_host in (("host", False), ("no-host", True)):
        plan = Plan(
            url=way.server.url("/old"),
            method="POST",
            id=f"{check.id}-old-{name}",
            steer=steer(size=100_000, framing="chunked"),
            body=Body(bytes=1000),
            http1=Http1(version="1.0", no_host=no_host),
        )
        outcome, attempt = deliver(check, way.caller, way.server, plan)
        coding = outcome.header("transfer-encoding")
        check.equal(coding, None, f"coding of a response to HTTP/1.0 {way.name}")
        check.equal(outcome.body_bytes, 100_000, f"bytes of a response to HTTP/1.0 {way.name}")
        check.equal(attempt.body_sha256, outcome.sent_sha256, f"body of HTTP/1.0 {way.name}")


def _absolute_form(check: Check, way: Way) -> None:
    """The application serves the resource that the target names (RFC 9112 section 3.2.2)."""
    authority = f"{way.server.host}:{HTTP_PORT}"
    plan = Plan(
        url=way.server.url(),
        id=f"{check.id}-absolute",
        http1=Http1(target=f"http://{authority}/absolute?x=%20y", host=authority),
    )
    _, attempt = deliver(check, way.caller, way.server, plan)
    named = attempt.target.removeprefix(f"http://{authority}")
    check.equal(
        (named, attempt.header("host")),
        ("/absolute?x=%20y", authority),
        f"target and Host of an absolute form {way.name}",
    )


def _no_host(check: Check, way: Way) -> None:
    """
    HTTP/1.1 without Host is refused, or goes on to where it was sent.

    RFC 9112 section 3.2 has the server refuse it. A proxy that passes it on may state the address
    that was dialled, for nothing else can be meant.
    """
    way.server.app.reset()
    plan = Plan(url=way.server.url("/no-host"), http1=Http1(no_host=True), deadline_s=5.0)
    outcome = way.caller.app.one(plan)
    told = refusal(outcome)
    hosts = {attempt.header("host") for attempt in way.server.app.settled().attempts}
    dialled = {None, outcome.peer, f"{way.server.address()}:{HTTP_PORT}"}
    check.expect(
        (told == "400" and not hosts) or (told == "200" and hosts <= dialled),
        f"a request without Host {way.name}",
        expected="400 and no request, or the request with no other Host than the address dialled",
        seen=f"{told}, the application saw Host {hosts}",
    )
