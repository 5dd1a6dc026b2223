"""Bytes without HTTP, and bodies of every size: nothing lost, nothing added, nothing hoarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.mesh.protocol import Enrolment
from harness.plugin import check
from harness.waiting import until
from harness.workload.plans import Body, Messages, Plan, Tcp, steer
from harness.workload.pods import BANNER_PORT, TCP_PORT
from suites.conformance import memory
from suites.conformance.joining import deliver, deliver_each, pairs
from suites.conformance.memory import MIB
from suites.conformance.ways import Way, ways

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab

PROMPT_S = 3.0
"""Longer than any greeting takes that is not waited for, shorter than any detection's time-out."""

DETECTED_S = 15.0
"""Longer than a mesh may wait for a client to speak before it lets the server begin."""

SIZES = (1, 1023, 65_535, 65_537, MIB, 10 * MIB + 1)
LARGE = 100 * MIB

HEAD_FIELDS = 90
"""Of 114 bytes each: 10 KiB of head."""

HOARD_BYTES = 24 * MIB
"""Growth of a sidecar's peak memory that buffers of a few streams explain and a body does not."""


@check("PR-08")
def test_connections_without_http(check: Check, lab: Lab, world: World) -> None:
    """The server may speak first, either side may finish first, and bytes stay bytes."""
    with lab.space("pr-08") as space:
        with check.phase("arrange"):
            opaque = Enrolment(opaque_ports=(TCP_PORT, BANNER_PORT))
            server = space.deploy("server", enrolment=opaque)
        undeclared = Plan(
            url=f"tcp://{world.server.host}:{BANNER_PORT}",
            protocol="tcp",
            id=f"{check.id}-undeclared",
            count=1,
            messages=Messages(count=3, bytes=1000),
            deadline_s=DETECTED_S,
            tcp=Tcp(greeted=True),
        )
        # Its time-out passes while the rest is measured.
        with world.client.app.traffic(undeclared) as waiting:
            with check.phase("measure"):
                declared = Way("to opaque ports", world.client, server)
                outside = Way("from no member to opaque ports", world.outsider, server)
                for way in (declared, outside):
                    _server_first(check, way)
                for way in (declared, outside, *ways(world)):
                    _half_close(check, way)
                    _echo(check, way)
            with check.phase("converge"):
                until(
                    waiting.summary,
                    what="a greeting from a port that nobody declared",
                    holds=lambda summary: summary.calls == 1,
                    timeout_s=DETECTED_S + 5,
                )
        with check.phase("reconcile"):
            assert waiting.result is not None
            attempts = [
                attempt
                for attempt in world.server.app.settled().attempts
                if attempt.id == f"{check.id}-undeclared-0"
            ]
            what = "a server that speaks first at a port that nobody declared"
            ((outcome, attempt),) = pairs(check, waiting.result.outcomes, attempts, what)
            check.equal(outcome.error, None, what)
            check.equal(attempt.body_sha256, outcome.sent_sha256, f"bytes to {what}")


@check("PR-09")
def test_bodies_of_any_size(check: Check, world: World) -> None:
    """From one byte to 100 MB both ways with equal hashes, in bounded memory of the sidecars."""
    with check.phase("measure"):
        for version in _VERSIONS:
            for way in ways(world):
                _both_ways(check, way, version, SIZES)
                _large_head(check, way, version)
    members = (world.client, world.server)
    with memory.bounded(check, members, HOARD_BYTES), check.phase("measure"):
        for version in _VERSIONS:
            _both_ways(check, ways(world)[0], version, (LARGE,))
            _slow_reader(check, ways(world)[0], version)


_VERSIONS: tuple[Literal["h1", "h2"], ...] = ("h1", "h2")


def _large_head(check: Check, way: Way, version: Literal["h1", "h2"]) -> None:
    """
    A head of 10 KiB arrives as it was sent.

    It stays below what proxies refuse that are built on hyper, as Linkerd's: 100 fields in HTTP/1
    and, with 32 bytes more for each field, 16 KiB in HTTP/2.
    """
    fields = [(f"x-field-{n:02}", check.random.randbytes(52).hex()) for n in range(HEAD_FIELDS)]
    plan = Plan(
        url=way.server.url("/large-head"),
        protocol=version,
        headers=fields,
        id=f"{check.id}-head-{version}-{way.name}".replace(" ", "-"),
    )
    _, attempt = deliver(check, way.caller, way.server, plan)
    arrived = sorted((n, v) for n, v in attempt.headers if n.lower().startswith("x-field-"))
    check.equal(len(arrived), HEAD_FIELDS, f"fields of a large head over {version} {way.name}")
    check.equal(arrived, fields, f"a large head over {version} {way.name}")


def _server_first(check: Check, way: Way) -> None:
    plan = Plan(
        url=f"tcp://{way.server.host}:{BANNER_PORT}",
        protocol="tcp",
        id=f"{check.id}-greeted",
        messages=Messages(count=3, bytes=1000, lockstep=True),
        deadline_s=PROMPT_S,
        tcp=Tcp(greeted=True),
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    check.equal(outcome.pod, way.server.role.name, f"greeting {way.name}")
    seen = (attempt.body_sha256, outcome.body_sha256)
    check.equal(seen, (outcome.sent_sha256,) * 2, f"bytes after the greeting {way.name}")


def _half_close(check: Check, way: Way) -> None:
    """The server answers only when the client has finished sending, with more than it got."""
    plan = Plan(
        url=f"tcp://{way.server.host}:{TCP_PORT}",
        protocol="tcp",
        id=f"{check.id}-half-close",
        steer=steer(size=300_000, delay="50ms"),
        messages=Messages(count=10, bytes=1000),
        deadline_s=PROMPT_S,
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    check.equal(attempt.body_sha256, outcome.sent_sha256, f"bytes there, half closed {way.name}")
    seen = (outcome.body_bytes, outcome.body_sha256)
    check.equal(seen, (300_000, attempt.sent_sha256), f"bytes back, half closed {way.name}")


def _echo(check: Check, way: Way) -> None:
    plan = Plan(
        url=f"tcp://{way.server.host}:{TCP_PORT}",
        protocol="tcp",
        id=f"{check.id}-echo",
        messages=Messages(count=64, bytes=65_536),
    )
    outcome, attempt = deliver(check, way.caller, way.server, plan)
    seen = (attempt.body_sha256, outcome.body_sha256)
    check.equal(seen, (outcome.sent_sha256,) * 2, f"4 MiB there and back {way.name}")


def _both_ways(
    check: Check, way: Way, version: Literal["h1", "h2"], sizes: tuple[int, ...]
) -> None:
    plans = [
        Plan(
            url=way.server.url(f"/{size}"),
            protocol=version,
            method="POST",
            id=f"{check.id}-{version}-{size}",
            steer=steer(size=size, seed=size),
            body=Body(bytes=size, seed=size + 1),
            deadline_s=60.0,
        )
        for size in sizes
    ]
    delivered = deliver_each(check, way.caller, way.server, plans)
    for size, (outcome, attempt) in zip(sizes, delivered, strict=True):
        there = (attempt.body_bytes, attempt.body_sha256)
        back = (outcome.body_bytes, outcome.body_sha256)
        check.equal(there, (size, outcome.sent_sha256), f"{version} request body {way.name}")
        check.equal(back, (size, attempt.sent_sha256), f"{version} response body {way.name}")


def _slow_reader(check: Check, way: Way, version: Literal["h1", "h2"]) -> None:
    """Who reads slowly slows the sender down: the mesh does not read ahead for it."""
    for name, steering, read_rate, body in (
        ("client", steer(size=LARGE), MIB, None),
        # Fast enough to be through with the kernel's buffers soon after the client gave up.
        ("server", steer(read_rate=8 * MIB), None, Body(bytes=LARGE)),
    ):
        plan = Plan(
            url=way.server.url(f"/slow-{name}"),
            protocol=version,
            method="POST",
            steer=steering,
            body=body,
            read_rate=read_rate,
            cancel_after_ms=1500,
        )
        outcome = way.caller.app.one(plan)
        kind = outcome.error.kind if outcome.error else None
        check.equal(kind, "cancelled", f"a {version} call whose {name} reads slowly")
