"""Who may call whom, and what those are told who may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.mesh.intents import Protocol, Source
from harness.mesh.protocol import Enrolment
from harness.plugin import check
from harness.stats.shares import upper_bound_of_zero
from harness.workload.plans import Plan
from harness.workload.pods import BANNER_PORT, HTTP_PORT, TCP_PORT
from suites.conformance import policing
from suites.conformance.joining import refusal
from suites.conformance.policing import HTTP_PROTOCOLS, Asked, account

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab

REQUESTS = 300
"""Refusals asked for: none accepted in 300 rules out a share above 2.3 % with 99.9 %."""

CONNECTIONS = 100
"""TCP connections per port and caller: four times this in AZ-17, twice in AZ-12, none served."""


@check("AZ-01")
def test_deny_all_denies_all(check: Check, lab: Lab, world: World) -> None:
    """A port that admits nobody refuses members and others alike; its neighbour admits members."""
    with lab.space("az-01") as space:
        with check.phase("arrange"):
            closed, open_ = (space.deploy(name, wait=False) for name in ("closed", "open"))
            closed.ready()
            open_.ready()
        with check.phase("apply"):
            policing.authorize(closed)
            policing.authorize(open_, Source(authenticated=True))
        with check.phase("converge"):
            policing.in_force(closed, refused=world.client)
            policing.in_force(open_, refused=world.outsider)
        with check.phase("control"):
            asked = policing.ask(check, world.client, open_)
            check.control(asked == Asked(frozenset({"200"}), 20), "a member is let in", seen=asked)
        with check.phase("measure"):
            for caller in (world.client, world.outsider):
                asked = policing.ask(check, caller, closed, count=REQUESTS)
                bound = upper_bound_of_zero(REQUESTS)
                check.measured(
                    asked.arrived, "arrived", interval=(0.0, REQUESTS * bound), n=REQUESTS
                )
                check.equal(asked, Asked(frozenset({"403"}), 0), f"calls of the {caller.role.name}")


@check("AZ-02")
def test_identity_decides(check: Check, lab: Lab, world: World) -> None:
    """Each server takes exactly the service accounts that its policy names."""
    with lab.space("az-02") as space:
        with check.phase("arrange"):
            names = ("alice", "for-alice", "for-client", "for-both")
            alice, *targets = (space.deploy(name, wait=False) for name in names)
            for member in (alice, *targets):
                member.ready()
            for_alice, for_client, for_both = targets
        with check.phase("apply"):
            policing.authorize(for_alice, account(alice))
            policing.authorize(for_client, account(world.client))
            policing.authorize(for_both, account(alice), account(world.client))
        with check.phase("converge"):
            policing.in_force(for_alice, refused=world.client, admitted=alice)
            policing.in_force(for_client, refused=alice, admitted=world.client)
            policing.in_force(for_both, refused=world.outsider, admitted=alice)
        with check.phase("measure"):
            for protocol in HTTP_PROTOCOLS:
                policing.matrix(
                    check,
                    {"alice": alice, "client": world.client, "outsider": world.outsider},
                    {"for-alice": for_alice, "for-client": for_client, "for-both": for_both},
                    {
                        "for-alice": {"alice"},
                        "for-client": {"client"},
                        "for-both": {"alice", "client"},
                    },
                    protocol=protocol,
                )


@check("AZ-04")
def test_namespace_account_and_workload_are_told_apart(
    check: Check, lab: Lab, world: World
) -> None:
    """A namespace's name is compared whole, an account's with its namespace, and labels select."""
    with lab.space("az-04") as space, lab.space("not-az-04") as other:
        with check.phase("arrange"):
            # The other namespace's name ends like this one's, and both have the same account.
            inside, outside = (each.deploy("caller", wait=False) for each in (space, other))
            names = ("by-namespace", "by-account", "unselected")
            targets = [space.deploy(name, wait=False) for name in names]
            for member in (inside, outside, *targets):
                member.ready()
            by_namespace, by_account, unselected = targets
        with check.phase("apply"):
            policing.authorize(by_namespace, Source(namespace=space.name))
            policing.authorize(by_account, account(outside))
        with check.phase("converge"):
            policing.in_force(by_namespace, refused=world.client, admitted=inside)
            policing.in_force(by_account, refused=world.client, admitted=outside)
        with check.phase("measure"):
            callers = {"inside": inside, "outside": outside, "client": world.client}
            policing.matrix(
                check,
                callers,
                dict(zip(names, (by_namespace, by_account, unselected), strict=True)),
                {
                    "by-namespace": {"inside"},
                    "by-account": {"outside"},
                    "unselected": set(callers),
                },
            )


@check("AZ-10")
def test_claimed_identity_counts_for_nothing(check: Check, lab: Lab, world: World) -> None:
    """Who writes another's name into a header is refused, and applications are not told it."""
    with lab.space("az-10") as space:
        with check.phase("arrange"):
            alice, server = (space.deploy(name, wait=False) for name in ("alice", "server"))
            alice.ready()
            server.ready()
            claim = lab.mesh.claim(alice.identity)
            claims = [*claim, *((name.title(), value) for name, value in claim)]
        with check.phase("apply"):
            policing.authorize(server, account(alice))
        with check.phase("converge"):
            policing.in_force(server, refused=world.outsider, admitted=alice)
        with check.phase("control"):
            asked = policing.ask(check, alice, server, headers=claims)
            check.control(asked == Asked(frozenset({"200"}), 20), "alice is let in", seen=asked)
        with check.phase("measure"):
            for caller in (world.outsider, world.client):
                asked = policing.ask(check, caller, server, headers=claims, count=REQUESTS)
                bound = upper_bound_of_zero(REQUESTS)
                check.measured(
                    asked.arrived, "arrived", interval=(0.0, REQUESTS * bound), n=REQUESTS
                )
                check.equal(asked, Asked(frozenset({"403"}), 0), f"calls of the {caller.role.name}")
            _application_is_told_the_truth(check, world, claims)


def _application_is_told_the_truth(
    check: Check, world: World, claims: list[tuple[str, str]]
) -> None:
    """Where everybody is let in, the application hears of no name but the proven one."""
    for caller, proven in ((world.outsider, ()), (world.client, (world.client.identity,))):
        for protocol in HTTP_PROTOCOLS:
            world.server.app.reset()
            plan = Plan(url=world.server.url(), protocol=protocol, headers=claims, count=20)
            told = {refusal(outcome) for outcome in caller.app.call(plan)}
            check.expect(told <= {"200", "grpc 0"}, "answers", expected="200", seen=told)
            heard = [world.server.told(each) for each in world.server.app.settled().attempts]
            check.equal(heard, [proven] * 20, f"who called over {protocol}, as told")


@check("AZ-12")
def test_denied_request_never_arrives(check: Check, lab: Lab, world: World) -> None:
    """403, 403, gRPC 7 and the end, and not so much as a connection to the application."""
    with lab.space("az-12") as space:
        with check.phase("arrange"):
            opaque = Enrolment(opaque_ports=(TCP_PORT,))
            alice = space.deploy("alice", wait=False)
            server = space.deploy("server", enrolment=opaque, wait=False)
            alice.ready()
            server.ready()
        with check.phase("apply"):
            policing.authorize(server, account(alice))
            policing.authorize(server, account(alice), port=TCP_PORT, protocol=Protocol.OPAQUE)
        with check.phase("converge"):
            policing.in_force(server, refused=world.client, admitted=alice)
            policing.silent(world.outsider, server, TCP_PORT)
        with check.phase("control"):
            for protocol in HTTP_PROTOCOLS:
                asked = policing.ask(check, alice, server, protocol)
                check.control(asked.arrived == 20, f"alice's {protocol} calls arrive", seen=asked)
            policing.served(check, alice, server, TCP_PORT)
        with check.phase("measure"):
            callers = {"client": world.client, "outsider": world.outsider}
            for protocol in HTTP_PROTOCOLS:
                policing.matrix(
                    check,
                    callers,
                    {"server": server},
                    {"server": set()},
                    protocol=protocol,
                    count=100,
                )
            for caller in callers.values():
                policing.cut(check, caller, server, TCP_PORT, count=CONNECTIONS)


@check("AZ-17")
def test_bytes_are_policed(check: Check, lab: Lab, world: World) -> None:
    """A connection that carries no HTTP ends before a byte of either side gets through."""
    with lab.space("az-17") as space:
        with check.phase("arrange"):
            alice = space.deploy("alice", wait=False)
            opaque = tuple(port for port, how in _TCP_PORTS.items() if how is Protocol.OPAQUE)
            server = space.deploy("server", enrolment=Enrolment(opaque_ports=opaque), wait=False)
            alice.ready()
            server.ready()
        with check.phase("apply"):
            policing.authorize(server, account(alice), port=HTTP_PORT)
            for port, protocol in _TCP_PORTS.items():
                policing.authorize(server, account(alice), port=port, protocol=protocol)
        with check.phase("converge"):
            policing.in_force(server, refused=world.client, admitted=alice)
            for port in _TCP_PORTS:
                policing.silent(world.outsider, server, port)
        with check.phase("control"):
            for port in _TCP_PORTS:
                policing.served(check, alice, server, port)
        with check.phase("measure"):
            for port in _TCP_PORTS:
                for caller in (world.client, world.outsider):
                    policing.cut(check, caller, server, port, count=CONNECTIONS)


_TCP_PORTS = {TCP_PORT: Protocol.DETECT, BANNER_PORT: Protocol.OPAQUE}
