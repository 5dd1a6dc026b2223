"""Two builds of the mesh: one replaced by the other under traffic, and both at once."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256

from harness.plugin import check
from harness.waiting import until
from harness.workload.plans import Messages, Plan
from harness.workload.pods import TCP_PORT
from suites.conformance import policing, rogues
from suites.conformance.continuity import continuous
from suites.conformance.disruption import LINGER, other_build, roll
from suites.conformance.joining import deliver_each

if TYPE_CHECKING:
    from harness.mesh.protocol import MeshOptions
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab, Space
    from suites.member import Member

CALLS = 5
"""Calls per way and protocol: the first opens what later ones use again."""

_COUNTED_S = 5.0


@check("CP-10", last=True)
def test_two_builds_work_together(
    check: Check, lab: Lab, world: World, previous: MeshOptions
) -> None:
    """Sidecars of either build work under the control plane of the other, and with each other."""
    with lab.space("cp-10") as space:
        with check.phase("arrange"):
            new = _pair(space, "new")
        with other_build(lab, previous):
            _work(check, world, [new], "under the other build's control plane")
            with check.phase("arrange"):
                old = _pair(space, "old")
                images = {_sidecar_image(member) for member in (*new, *old)}
                check.control(len(images) == 2, "the builds' tags differ", seen=images)
            _work(check, world, [new, old], "mixed, under the other build's control plane")
        _work(check, world, [old, new], "mixed, under this build's control plane")


@check("CP-13", last=True)
def test_upgrade_loses_nothing(check: Check, lab: Lab, world: World, previous: MeshOptions) -> None:
    """The mesh goes to the other build and back under traffic, and no request fails."""
    with lab.space("cp-13") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=2, arguments=LINGER)
            issuers = _issuers(world, server)
            check.control(issuers, "servers show who signed for them")
            images = [_sidecar_image(server)]
        with continuous(check, world.client, server) as traffic:
            traffic.until_served_by(server.pod_names())
            with other_build(lab, previous):
                traffic.until_served_by(_replaced(check, world, server, issuers))
                images.append(_sidecar_image(server))
            traffic.until_served_by(_replaced(check, world, server, issuers))
            images.append(_sidecar_image(server))
        with check.phase("reconcile"):
            there_and_back = images[0] == images[2] != images[1]
            check.control(there_and_back, "the tags went there and back", seen=images)


def _replaced(check: Check, world: World, server: Member, issuers: set[str]) -> set[str]:
    """Replace the server's pods after an upgrade; who signed before must have signed for these."""
    pods = roll(server)
    check.equal(_issuers(world, server), issuers, "issuers of the servers' certificates")
    return pods


def _pair(space: Space, name: str) -> tuple[Member, Member]:
    """A client and a server, with whatever sidecar the mesh gives out now."""
    client = space.deploy(f"{name}-client", wait=False)
    server = space.deploy(f"{name}-server", wait=False)
    return client.ready(), server.ready()


def _work(check: Check, world: World, members: list[tuple[Member, Member]], when: str) -> None:
    """
    Each server takes the first of the clients and nobody else, and knows it by name.

    Policy is applied anew, so that sidecars which know an earlier one must take the new one.
    """
    with check.phase("measure"):
        clients, servers = zip(*members, strict=True)
        welcome: Member = clients[0]
        callers = {each.role.name: each for each in (*clients, world.client, world.outsider)}
        for server in servers:
            policing.authorize(server, policing.account(welcome))
            policing.in_force(server, refused=world.client, admitted=welcome)
            _known(check, welcome, server, when)
        named = {server.role.name: server for server in servers}
        for protocol in policing.HTTP_PROTOCOLS:
            admitted = {name: {welcome.role.name} for name in named}
            policing.matrix(check, callers, named, admitted, protocol=protocol, count=CALLS)
        check.evidence("worked", when)


def _known(check: Check, client: Member, server: Member, when: str) -> None:
    """Calls of every protocol arrive once, and each side knows the other by its name."""
    name = f"{check.id}-{client.role.name}-{server.role.name}-{len(check.kept)}"
    plans = [
        Plan(url=server.url(), protocol=protocol, id=f"{name}-{protocol}", count=CALLS)
        for protocol in policing.HTTP_PROTOCOLS
    ]
    before = _counted(client, server)
    for _, attempt in deliver_each(check, client, server, plans):
        seen = server.told(attempt)
        check.equal(seen, (client.identity,), f"who called {server.role.name}, {when}")
    until(
        lambda: _counted(client, server) - before,
        what=f"{client.role.name}'s sidecar counts {server.role.name}'s answers by name, {when}",
        holds=lambda more: more >= CALLS * len(plans),
        timeout_s=_COUNTED_S,
    )
    url = f"tcp://{server.host}:{TCP_PORT}"
    tcp = Plan(
        url=url, protocol="tcp", id=f"{name}-tcp", count=CALLS, messages=Messages(bytes=1000)
    )
    for outcome, attempt in deliver_each(check, client, server, [tcp]):
        echoed = (attempt.body_sha256, outcome.body_sha256)
        check.equal(echoed, (outcome.sent_sha256,) * 2, f"bytes to {server.role.name}, {when}")


def _counted(client: Member, server: Member) -> int:
    """Answers by the server, as the client's sidecar knows it: by the name it authenticated."""
    return client.telemetry().peers.get(("outbound", server.identity), 0)


def _sidecar_image(member: Member) -> str:
    """What the sidecars of a member's pods are made from: one image."""
    sidecar = member.space.lab.mesh.sidecar
    assert sidecar is not None
    images = set()
    for pod in member.pods():
        assert pod.spec is not None
        containers = itertools.chain(pod.spec.initContainers or (), pod.spec.containers)
        images |= {each.image or "" for each in containers if each.name == sidecar.container}
    (image,) = images
    return image


def _issuers(world: World, server: Member) -> set[str]:
    """Whoever signed the certificates that the server's pods show, by fingerprint."""
    addresses = [pod.status.podIP for pod in server.pods() if pod.status]
    chains = [
        rogues.shown_chain(world.outsider.helper, server, address=address) for address in addresses
    ]
    return {signer.fingerprint(SHA256()).hex() for _, *signers in chains for signer in signers}
