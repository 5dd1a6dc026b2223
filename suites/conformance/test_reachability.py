"""Whether everybody reaches whom the cluster lets them reach, mesh or not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from harness.mesh.protocol import Feature
from harness.plugin import check
from harness.workload.plans import Messages, Plan
from harness.workload.pods import HTTP_PORT, TCP_PORT
from suites.conformance.joining import deliver_all

if TYPE_CHECKING:
    from harness.mesh.protocol import Mesh
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

CALLS = 5
"""Calls per way and protocol: the first opens what later ones use again."""


@dataclasses.dataclass(frozen=True)
class _Way:
    name: str
    caller: Member
    server: Member
    host: str


@check("RT-01")
def test_everybody_is_reached(check: Check, lab: Lab, world: World) -> None:
    """By name and by address, across namespaces, between members of the mesh and others."""
    with lab.space("rt-01") as space:
        with check.phase("arrange"):
            ways = _ways_to_members(world, space.deploy("far"))
            if _knows_members(lab.mesh):
                plain = world.plain
                ways += [
                    _Way("to-no-member", world.client, plain, plain.host),
                    _Way("to-no-members-address", world.client, plain, plain.address()),
                ]
        with check.phase("measure"):
            for way in ways:
                _reach_by_http(check, way)
            carries_bytes = Feature.PROTOCOLS in lab.mesh.features()
            for way in ways if carries_bytes else ():
                _reach_by_tcp(check, way)
            check.measured(len(ways), "ways", n=len(ways) * (2 + carries_bytes) * CALLS)


def _ways_to_members(world: World, far: Member) -> list[_Way]:
    client, server, outsider = world.client, world.server, world.outsider
    return [
        _Way("by-name", client, server, server.host),
        _Way("by-short-name", client, server, server.role.name),
        _Way("by-service-address", client, server, server.cluster_ip()),
        _Way("by-pod-address", client, server, server.address()),
        _Way("from-another-namespace", far, server, server.host),
        _Way("to-another-namespace", client, far, far.host),
        _Way("from-no-member", outsider, server, server.host),
        _Way("from-no-member-by-address", outsider, server, server.address()),
    ]


def _knows_members(mesh: Mesh) -> bool:
    """Whether anybody tells its sidecars who is a member: without, they expect all to be."""
    return mesh.sidecar is None or Feature.CONTROL_PLANE in mesh.features()


def _reach_by_http(check: Check, way: _Way) -> None:
    for protocol in ("h1", "h2"):
        path = f"/{way.name}?protocol={protocol}"
        plan = Plan(
            url=f"http://{way.host}:{HTTP_PORT}{path}",
            protocol=protocol,
            id=f"{check.id}-{way.name}-{protocol}",
            count=CALLS,
        )
        for outcome, attempt in deliver_all(check, way.caller, way.server, plan):
            check.equal(outcome.pod, way.server.role.name, f"who answered {way.name}")
            check.equal(attempt.target, path, f"target of {way.name}")


def _reach_by_tcp(check: Check, way: _Way) -> None:
    plan = Plan(
        url=f"tcp://{way.host}:{TCP_PORT}",
        protocol="tcp",
        id=f"{check.id}-{way.name}-tcp",
        count=CALLS,
        messages=Messages(bytes=1000),
    )
    for outcome, attempt in deliver_all(check, way.caller, way.server, plan):
        seen = (attempt.body_sha256, outcome.body_sha256)
        check.equal(seen, (outcome.sent_sha256,) * 2, f"bytes there and back over {way.name}")
