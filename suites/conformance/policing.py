"""Putting policy on a port, and asking every caller what it makes of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Literal

from harness.mesh.intents import Authorize, Protocol, Source, Target
from harness.waiting import until
from harness.workload.plans import Body, Messages, Plan, Tcp
from harness.workload.pods import BANNER_PORT, HTTP_PORT
from suites.conformance.joining import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.plugin import Check
    from harness.workload.records import Fields, Outcome
    from suites.member import Member

__all__ = [
    "HTTP_PROTOCOLS",
    "Asked",
    "account",
    "ask",
    "authorize",
    "cut",
    "in_force",
    "matrix",
    "served",
    "silent",
]

HttpProtocol = Literal["h1", "h2", "grpc"]

HTTP_PROTOCOLS: tuple[HttpProtocol, ...] = ("h1", "h2", "grpc")

CUT_S = 2.0
"""How soon a denied connection has ended: whom it may serve is known once its bytes have come."""

_IN_FORCE_S = 10.0
_ADMITTED = {"h1": "200", "h2": "200", "grpc": "grpc 0"}
_DENIED = {"h1": "403", "h2": "403", "grpc": "grpc 7"}


@dataclasses.dataclass(frozen=True)
class Asked:
    """
    What came of some calls: the distinct answers, and how many calls the application saw.

    opened: connections to the application, which may be fewer than calls.
    """

    told: frozenset[str]
    arrived: int
    opened: int = dataclasses.field(default=0, compare=False)


def account(member: Member) -> Source:
    """Whoever runs under this member's service account."""
    return Source(service_account=(member.space.name, member.role.account))


def authorize(
    member: Member,
    *sources: Source,
    port: int = HTTP_PORT,
    protocol: Protocol = Protocol.DETECT,
) -> None:
    """Have one port of a member take requests from `sources` only; none denies everybody."""
    target = Target(
        namespace=member.space.name, labels=member.role.selector, port=port, protocol=protocol
    )
    member.space.apply(Authorize(name=f"{member.role.name}-{port}", target=target, sources=sources))


def in_force(
    server: Member, *, refused: Member | None = None, admitted: Member | None = None
) -> None:
    """Wait until `server` answers as its policy says."""
    if refused is not None:
        _until_told(refused, server, "403")
    if admitted is not None:
        _until_told(admitted, server, "200")


def ask(
    check: Check,
    caller: Member,
    server: Member,
    protocol: HttpProtocol = "h1",
    *,
    count: int = 20,
    headers: Fields = [],  # noqa: B006 - never changed
) -> Asked:
    """Make `count` calls with a body, each over a connection of its own where HTTP/1 is spoken."""
    server.app.reset()
    plan = Plan(
        url=server.url("/asked"),
        protocol=protocol,
        method="POST",
        headers=headers,
        id=f"{check.id}-{caller.role.name}-{protocol}",
        body=Body(bytes=1000) if protocol != "grpc" else None,
        count=count,
        concurrency=4,
        connections=0 if protocol == "h1" else 4,
    )
    told = frozenset(refusal(outcome) for outcome in caller.app.call(plan))
    arrived = server.app.settled().summary.arrived
    return Asked(told, arrived, server.app.connections().opened)


def matrix(
    check: Check,
    callers: Mapping[str, Member],
    servers: Mapping[str, Member],
    admitted: Mapping[str, set[str]],
    *,
    protocol: HttpProtocol = "h1",
    count: int = 10,
) -> None:
    """
    Have every caller ask every server; `admitted` names, by server, the callers that it takes.

    Denied calls are answered with 403 (gRPC: status 7), and for them not so much as a connection to
    the application is opened.
    """
    for server_name, server in servers.items():
        for caller_name, caller in callers.items():
            welcome = caller_name in admitted[server_name]
            answer = (_ADMITTED if welcome else _DENIED)[protocol]
            calls = f"{protocol} calls of {caller_name} to {server_name}"
            asked = ask(check, caller, server, protocol, count=count)
            check.equal(asked, Asked(frozenset({answer}), count if welcome else 0), calls)
            if not welcome:
                check.equal(asked.opened, 0, f"connections to the application for {calls}")


def served(check: Check, caller: Member, server: Member, port: int) -> None:
    """Control: connections that carry no HTTP bring back what they sent."""
    received = [outcome.body_bytes for outcome in _converse(check, caller, server, port, count=5)]
    what = f"{caller.role.name} is served at port {port}"
    check.control(all(received), what, seen=received)


def cut(check: Check, caller: Member, server: Member, port: int, *, count: int) -> None:
    """
    Connections that carry no HTTP end within `CUT_S`, before a byte of either side gets through.

    Each must end by the mesh's doing: the client waits with its sending half open.
    """
    server.app.reset()
    outcomes = _converse(check, caller, server, port, count=count)
    server.app.settled()
    opened = server.app.connections().opened
    received = sum(outcome.body_bytes for outcome in outcomes)
    ends = Counter(_end(outcome) for outcome in outcomes)
    who = f"the {caller.role.name} at port {port}"
    check.evidence(f"ends of {who}", dict(ends))
    check.measured(received, "bytes got through", n=count)
    check.equal(received, 0, f"bytes that got back to {who}")
    check.equal(opened, 0, f"connections that the application saw of {who}")
    check.expect(
        set(ends) <= {"reset", "fin"},
        f"ends of connections of {who}",
        expected=f"reset or fin within {CUT_S:g} s",
        seen=dict(ends),
    )


def silent(caller: Member, server: Member, port: int) -> None:
    """Wait until connections that carry no HTTP bring nothing back."""
    plan = Plan(url=f"tcp://{server.host}:{port}", protocol="tcp", deadline_s=CUT_S)
    until(
        lambda: caller.app.one(plan).body_bytes,
        what=f"{server.role.name} refuses {caller.role.name} at port {port}",
        holds=lambda received: received == 0,
        timeout_s=_IN_FORCE_S,
        hint="The policy was applied; the server's sidecar does not follow it.",
    )


def _converse(
    check: Check, caller: Member, server: Member, port: int, *, count: int
) -> list[Outcome]:
    """Open connections, send a little, and end the sending half once that came back."""
    plan = Plan(
        url=f"tcp://{server.host}:{port}",
        protocol="tcp",
        id=f"{check.id}-{caller.role.name}-{port}",
        count=count,
        concurrency=10,
        messages=Messages(bytes=64),
        deadline_s=CUT_S,
        tcp=Tcp(greeted=port == BANNER_PORT, keep_open=True),
    )
    return caller.app.call(plan)


def _end(outcome: Outcome) -> str:
    """How the peer ended a connection, or why it is not known to have: `timeout`."""
    return outcome.end or (outcome.error.kind if outcome.error else "open")


def _until_told(caller: Member, server: Member, answer: str) -> None:
    until(
        lambda: refusal(caller.app.one(Plan(url=server.url()))),
        what=f"{server.role.name} answers {caller.role.name} with {answer}",
        holds=lambda told: told == answer,
        timeout_s=_IN_FORCE_S,
        hint="The policy was applied; the server's sidecar does not follow it.",
    )
