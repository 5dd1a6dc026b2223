"""HTTP/1.1 as an application sees it with a mesh around it: the same, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import check
from harness.workload.plans import Body, Http1, Messages, Plan, steer
from harness.workload.pods import HTTP_PORT
from suites.conformance.joining import deliver, deliver_all, deliver_each, refusal
from suites.conformance.ways import Way, ways

if TYPE_CHECKING:
    from harness.plugin import Check
    from harness.workload.records import Fields
    from suites.conformance.conftest import World

MIB = 1 << 20

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x-own.method")

TARGETS = (
    "/",
    "/?",
    "/a?b=c&b=d",
    "/a//b///c",
    "/a/./b/../c",
    "/%41%2f%2E%00%zz",
    "/a;b=c,d!$&'()*+~",
    "/a?b?c=/../d&&e",
    "/a%20b+c?d=%E2%98%BA",
    "//two/slashes",
    "/" + "long/" * 800,
)

FIELDS: Fields = [
    ("X-Repeated", "one"),
    ("Cookie", "a=b; c=d"),
    ("X-Repeated", "two, three"),
    ("X-Empty", ""),
    ("X-Repeated", ""),
    ("X-Latin", "gr\xfc\xdfe"),
    ("X-Inner", "a  b\tc"),
    ("X-Quoted", '"a, b" ; q=1'),
    ("Accept", "text/html;q=0.8, */*"),
    ("Authorization", "Basic YTpi"),
    ("X-Long", "l" * 16_000),
    *[(f"X-Many-{number}", str(number)) for number in range(60)],
]

STATUSES = (
    200,
    201,
    202,
    203,
    206,
    301,
    307,
    400,
    401,
    404,
    409,
    418,
    429,
    500,
    501,
    502,
    503,
    504,
)
"""Those of the application: a mesh that answers in its place with one of them adds nothing here."""


@check("PR-01")
def test_requests_and_responses_arrive_as_sent(check: Check, world: World) -> None:
    """Methods, targets, fields, statuses, lengths and connections stay what they were."""
    with check.phase("measure"):
        for way in ways(world):
            _request_lines(check, way)
            _fields(check, way)
            for status in STATUSES:
                _status(check, way, status)
            _lengths(check, way)
            _connection_is_kept(check, way)
            _pipeline(check, way)
            _early_answer(check, way)
            _reset(check, way)
            _tunnel(check, way)


def _request_lines(check: Check, way: Way) -> None:
    host = "some.host.example:81"
    lines = [(method, "/method") for method in METHODS]
    lines += [("GET", target) for target in TARGETS]
    lines.append(("OPTIONS", "*"))
    plans = [
        Plan(
            url=way.server.url(),
            method=method,
            id=f"{check.id}-line-{number}",
            http1=Http1(target=target, host=host),
        )
        for number, (method, target) in enumerate(lines)
    ]
    delivered = deliver_each(check, way.caller, way.server, plans)
    for (method, target), (_, attempt) in zip(lines, delivered, strict=True):
        seen = (attempt.method, attempt.target, attempt.header("host"), attempt.protocol)
        check.equal(seen, (method, target, host, "HTTP/1.1"), f"request line and Host {way.name}")


def _fields(check: Check, way: Way) -> None:
    """Each field arrives with its value, and those of one name in their order, in both ways."""
    back = [(name, value) for name, value in FIELDS if "\t" not in value and value.isascii()]
    escaped = (
        f"header={name}:{value.replace('%', '%25').replace(';', '%3B')}" for name, value in back
    )
    plan = Plan(
        url=way.server.url("/fields"),
        headers=FIELDS,
        steer=";".join(escaped),
        id=f"{check.id}-fields",
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    check.equal(_wrong(FIELDS, attempt.headers), {}, f"fields of a request {way.name}")
    check.equal(_wrong(back, outcome.headers), {}, f"fields of a response {way.name}")


def _wrong(sent: Fields, received: Fields) -> dict[str, tuple[list[str], list[str]]]:
    """Names whose values differ: what was sent, and what was received."""
    names = {name.lower() for name, _ in sent}
    pairs = {name: (_values(sent, name), _values(received, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _values(fields: Fields, name: str) -> list[str]:
    return [value for other, value in fields if other.lower() == name]


def _status(check: Check, way: Way, status: int) -> None:
    plan = Plan(url=way.server.url("/status"), steer=steer(status=status, size=100))
    outcome = way.caller.app.one(plan)
    seen = (refusal(outcome), outcome.body_bytes)
    check.equal(seen, (str(status), 100), f"a response {status} {way.name}")


def _lengths(check: Check, way: Way) -> None:
    """A length that was stated stays stated, also that of nothing, and none is made up."""
    bodies = (None, Body(bytes=0), Body(bytes=5000))
    plans = [
        Plan(
            url=way.server.url("/length"),
            method="POST" if body else "GET",
            id=f"{check.id}-length-{number}",
            steer=steer(size=body.bytes if body else 0),
            body=body,
        )
        for number, body in enumerate(bodies)
    ]
    delivered = deliver_each(check, way.caller, way.server, plans)
    for body, (outcome, attempt) in zip(bodies, delivered, strict=True):
        seen = (attempt.header("content-length"), attempt.header("transfer-encoding"))
        check.equal(
            seen, (str(body.bytes) if body else None, None), f"framing of a request {way.name}"
        )
        told = outcome.header("content-length")
        check.equal(told, str(body.bytes if body else 0), f"length of a response {way.name}")


def _connection_is_kept(check: Check, way: Way) -> None:
    plan = Plan(url=way.server.url("/kept"), id=f"{check.id}-kept", count=20)
    used = {o.connection for o, _ in deliver_all(check, way.caller, way.server, plan)}
    check.equal(used, {1}, f"connections for twenty requests {way.name}")
    asked = Plan(url=way.server.url("/last"), headers=[("Connection", "close")], count=2)
    outcomes = way.caller.app.call(asked)
    check.equal([o.status for o in outcomes], [200, 200], f"requests that close {way.name}")
    said = {(o.header("connection") or "").lower() for o in outcomes}
    check.equal(said, {"close"}, f"Connection of responses to requests that close {way.name}")


def _pipeline(check: Check, way: Way) -> None:
    """Requests sent without waiting are answered in order."""
    way.server.app.reset()
    requests = [
        f"GET /{name} HTTP/1.1\r\nHost: a\r\nX-Meshmark: header=X-N:{name}{more}\r\n{end}\r\n"
        for name, more, end in (
            ("1", ";delay=50ms", ""),
            ("2", "", ""),
            ("3", "", "Connection: close\r\n"),
        )
    ]
    address = f"{way.server.cluster_ip()}:{HTTP_PORT}"
    outcome = way.caller.helper.raw(address, "".join(requests).encode())
    head = outcome.body_head.lower()
    places = [head.find(f"x-n: {name}\r\n") for name in "123"]
    check.expect(
        -1 < places[0] < places[1] < places[2],
        f"answers to three requests sent at once {way.name}",
        expected="one after the other",
        seen=head,
    )


def _early_answer(check: Check, way: Way) -> None:
    plan = Plan(
        url=way.server.url("/refused"),
        method="POST",
        steer=steer(status=413, read="none"),
        body=Body(bytes=20 * MIB),
        deadline_s=5.0,
    )
    outcome = way.caller.app.one(plan)
    check.equal(refusal(outcome), "413", f"an answer before the request has ended {way.name}")


def _reset(check: Check, way: Way) -> None:
    """An application that breaks off before it answers is not made to look as if it had."""
    plan = Plan(url=way.server.url("/reset"), steer=steer(reset="request"), deadline_s=5.0)
    told = refusal(way.caller.app.one(plan))
    check.expect(
        told in {"reset", "eof", "502"},
        f"a connection that the application resets {way.name}",
        expected="502, or the end of the connection",
        seen=told,
    )


def _tunnel(check: Check, way: Way) -> None:
    plan = Plan(
        url=way.server.url(),
        method="CONNECT",
        id=f"{check.id}-connect",
        http1=Http1(target=f"{way.server.host}:{HTTP_PORT}"),
        messages=Messages(count=5, bytes=1000),
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    seen = (attempt.body_sha256, outcome.body_sha256)
    check.equal(seen, (outcome.sent_sha256,) * 2, f"bytes through CONNECT {way.name}")
