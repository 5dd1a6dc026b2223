"""What is on the wire between members of a mesh, and between them and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.mesh.intents import Target, TlsMode, TlsPolicy
from harness.mesh.protocol import Enrolment
from harness.plugin import check
from harness.stats.shares import upper_bound_of_zero
from harness.workload.plans import Messages, Plan
from harness.workload.pods import HTTP_PORT
from suites.conformance import rogues

if TYPE_CHECKING:
    from harness.plugin import Check
    from harness.workload.findings import Findings
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

REQUESTS = 300
"""Refusals asked for: none accepted in 300 rules out a share above 2.3 % with 99.9 %."""


@check("TLS-01")
def test_wire_is_encrypted(check: Check, world: World) -> None:
    """A word that the client sends is on no packet between the pods."""
    with check.phase("control"):
        naked = _captured(check, world.outsider, world.server)
        check.control(naked.matches[0] > 0, "the capture sees the word when nothing encrypts it")
    with check.phase("measure"):
        found = _captured(check, world.client, world.server)
        check.control(found.is_complete, "the capture saw every packet", seen=found.error)
        carried = sum(flow.payload_bytes for flow in found.flows)
        check.measured(found.matches[0], "packets with the word", n=carried)
        check.equal(found.matches[0], 0, "packets that carry the client's word in the clear")
        secured = [flow for flow in found.flows if flow.is_tls]
        check.expect(secured, "TLS between the pods", expected="a TLS flow", seen=found.flows)


@check("TLS-02")
def test_peers_authenticate_each_other(check: Check, world: World) -> None:
    """Each side knows the other by the name that the mesh gave it."""
    with check.phase("measure"):
        plan = Plan(url=world.server.url(), id=f"{check.id}-{check.seed}", count=20)
        outcomes = world.client.app.call(plan)
        check.equal([outcome.status for outcome in outcomes], [200] * 20, "statuses")
    with check.phase("reconcile"):
        attempts = world.server.app.settled().by_id()
        seen = {world.server.told(a) for o in outcomes for a in attempts[o.id or ""]}
        check.equal(seen, {(world.client.identity,)}, "clients as the server was told")
        servers = world.client.telemetry().server_identities
        check.expect(
            world.server.identity in servers,
            "servers as the client's sidecar counted them",
            expected=world.server.identity,
            seen=servers,
        )


@check("TLS-03")
def test_strict_refuses_plaintext(check: Check, lab: Lab, world: World) -> None:
    """A port that takes only mesh TLS refuses who is not a member, before the application."""
    with lab.space("tls-03") as space:
        with check.phase("arrange"):
            server = space.deploy("server")
        with check.phase("apply"):
            target = Target(namespace=space.name, labels=server.role.selector, port=HTTP_PORT)
            space.apply(TlsPolicy(name="strict", target=target, mode=TlsMode.STRICT))
        with check.phase("converge"):
            rogues.until_refused(world.outsider, server)
        with check.phase("control"):
            accepted = world.client.app.one(Plan(url=server.url()))
            check.control(accepted.ok, "a member is accepted", seen=accepted.error)
        with check.phase("measure"):
            _none_accepted(check, world.outsider, server)


@check("TLS-04")
def test_permissive_accepts_both(check: Check, lab: Lab, world: World) -> None:
    """A permissive port takes plaintext from others, and members still use TLS."""
    with lab.space("tls-04") as space:
        with check.phase("arrange"):
            server = space.deploy("server")
        with check.phase("apply"):
            target = Target(namespace=space.name, labels=server.role.selector, port=HTTP_PORT)
            space.apply(TlsPolicy(name="permissive", target=target, mode=TlsMode.PERMISSIVE))
        with check.phase("measure"):
            for caller in (world.client, world.outsider):
                plan = Plan(url=server.url(), id=caller.role.name, count=20)
                statuses = [outcome.status for outcome in caller.app.call(plan)]
                check.equal(statuses, [200] * 20, f"statuses that the {caller.role.name} saw")
        with check.phase("reconcile"):
            attempts = server.app.settled().attempts
            told = {(a.id or "").rpartition("-")[0]: server.told(a) for a in attempts}
            expected = {"client": (world.client.identity,), "outsider": ()}
            check.equal(told, expected, "identities that the application was told")
            requests = server.telemetry().requests
            check.equal(requests.get(("inbound", 200, True)), 20, "secured requests counted")


@check("TLS-05")
def test_opted_out_traffic_is_plaintext(check: Check, lab: Lab, world: World) -> None:
    """What a pod keeps from its sidecar goes out as the application sent it."""
    with lab.space("tls-05") as space:
        with check.phase("arrange"):
            client = space.deploy("client", enrolment=Enrolment(skip_outbound_ports=(HTTP_PORT,)))
        with check.phase("measure"):
            found = _captured(check, client, world.server)
            check.expect(
                found.matches[0] > 0, "the word on the wire", expected="seen", seen=found.matches
            )
        with check.phase("reconcile"):
            attempts = world.server.app.settled().by_id()[f"{check.id}-client-0"]
            told = world.server.told(attempts[-1])
            check.equal(told, (), "identity that the application was told")


def _captured(check: Check, client: Member, server: Member) -> Findings:
    """
    Send a word from client to server, and look for it on the server's wire.

    It goes in headers and as content: HTTP/2 compresses the former, so that they show nothing.
    """
    word = check.random.randbytes(16).hex()
    name = f"{check.id}-{client.role.name}"
    fields = Plan(url=server.url(f"/{word}"), headers=[("x-word", word)], id=name, count=20)
    content = Plan(
        url=server.url("/meshmark.Words/Say"),
        protocol="grpc",
        messages=Messages(payload_hex=word.encode().hex()),
        id=f"{name}-content",
        count=20,
    )
    with server.helper.capture([word.encode()]) as capture:
        outcomes = [outcome for plan in (fields, content) for outcome in client.app.call(plan)]
    failed = [outcome for outcome in outcomes if not outcome.ok]
    check.equal(failed[:3], [], "calls that failed")
    assert capture.result is not None
    return capture.result


def _none_accepted(check: Check, caller: Member, server: Member) -> None:
    """Ask `REQUESTS` times; nothing may be answered by, nor arrive at, the application."""
    server.app.reset()
    plan = Plan(url=server.url(), id=check.id, count=REQUESTS, concurrency=4, connections=0)
    outcomes = caller.app.call(plan)
    accepted = [outcome for outcome in outcomes if outcome.ok]
    arrived = server.app.settled().attempts
    bound = upper_bound_of_zero(REQUESTS)
    check.measured(len(accepted), "accepted", interval=(0.0, REQUESTS * bound), n=REQUESTS)
    check.equal(len(accepted), 0, "requests that were accepted")
    check.equal(len(arrived), 0, "requests that reached the application")
