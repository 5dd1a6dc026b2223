"""Putting policy on a port, and asking every caller what it makes of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from harness.mesh.intents import Authorize, Protocol, Source, Target
from harness.waiting import until
from harness.workload.plans import Body, Plan
from harness.workload.pods import HTTP_PORT
from suites.conformance.joining import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.plugin import Check
    from harness.workload.records import Fields
    from suites.member import Member

__all__ = ["HTTP_PROTOCOLS", "Asked", "account", "ask", "authorize", "in_force", "matrix"]

HttpProtocol = Literal["h1", "h2", "grpc"]

HTTP_PROTOCOLS: tuple[HttpProtocol, ...] = ("h1", "h2", "grpc")

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


def _until_told(caller: Member, server: Member, answer: str) -> None:
    until(
        lambda: refusal(caller.app.one(Plan(url=server.url()))),
        what=f"{server.role.name} answers {caller.role.name} with {answer}",
        holds=lambda told: told == answer,
        timeout_s=_IN_FORCE_S,
        hint="The policy was applied; the server's sidecar does not follow it.",
    )
