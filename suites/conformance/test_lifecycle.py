"""Pods, sidecars and connections that come and go while requests are under way."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING

from harness.mesh.intents import Authorize, Source, Target
from harness.plugin import check
from harness.stats.shares import sample_that_would_hit, upper_bound_of_zero
from harness.waiting import until
from harness.workload.plans import Messages, Plan, steer
from harness.workload.pods import HTTP_PORT, TCP_PORT
from suites.conformance.continuity import continuous
from suites.conformance.disruption import LINGER, restart_control_plane, roll, scale
from suites.conformance.first_last import FirstAndLast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.plugin import Check
    from harness.workload.calls import RunningTraffic
    from harness.workload.records import Outcome
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

RUSH = 5
"""So many times the usual traffic: a rollout is over in 3 s, and then has met with 600 calls."""

INTERRUPTED_SHARE = 0.1
STREAMS = math.ceil(sample_that_would_hit(INTERRUPTED_SHARE, 1e-3) / 3)
"""Streams of each of three protocols: one interrupted in ten would be seen with 99.9 %."""

PODS = 4
"""Pods that start at once: sidecar and application race in each."""

IN_FLIGHT = 5
"""Requests under way per protocol and client when a server is told to end."""

HELD_MS = 2500
"""How long each of them takes: longer than the telling."""

OUTAGE_S = 10.0
"""Longest time without an answer after a sidecar was killed: one start, and one try again."""

LONGEST_PAUSE_S = 5.0
"""
A stream whose messages are 200 ms apart has been interrupted when it pauses for longer. What a busy
machine does to it must not be taken for that: at a load of ten per processor it paused for 2 s.
"""


@check("LC-01")
def test_rolling_restart_loses_nothing(check: Check, lab: Lab, world: World) -> None:
    """Every pod of a service is replaced under traffic, and no request fails."""
    with lab.space("lc-01") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=2, arguments=LINGER)
            before = set(server.pod_names())
        with continuous(check, world.client, server, times=RUSH) as traffic:
            traffic.until_served_by(before)
            after = roll(server)
            check.control(not before & after, "every pod was replaced", seen=before & after)
            traffic.until_served_by(after)


@check("LC-02")
def test_scaling_loses_nothing(check: Check, lab: Lab, world: World) -> None:
    """A service grows and shrinks under traffic, and no request fails."""
    with lab.space("lc-02") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=1, arguments=LINGER)
        with continuous(check, world.client, server, times=RUSH) as traffic:
            traffic.until_served_by(scale(server, 3))
            traffic.until_served_by(scale(server, 1))


@check("LC-03")
def test_sidecar_outlives_the_application(check: Check, lab: Lab, world: World) -> None:
    """Calls that an application makes first and last go through its sidecar."""
    with lab.space("lc-03") as space:
        with check.phase("measure"):
            calls = FirstAndLast(check, world.server)
            member = space.deploy("client", replicas=PODS, arguments=calls.arguments)
            scale(member, 0)
        with check.phase("reconcile"):
            calls.all_known(member, PODS)


@check("LC-04")
def test_what_is_under_way_finishes(check: Check, lab: Lab, world: World) -> None:
    """A pod that is deleted, and a sidecar that is told to end, finish and tell their peers."""
    with lab.space("lc-04") as space:
        with check.phase("arrange"):
            deleted = space.deploy("deleted", wait=False)
            drained = space.deploy("drained", helper=True, wait=False)
            deleted.ready()
            drained.ready()
        with check.phase("measure"):
            with _in_flight(check, (world.client, world.outsider), deleted):
                deleted.delete()
            sidecar = lab.mesh.sidecar
            assert sidecar is not None
            process = drained.helper.process(sidecar.process)
            with (
                _in_flight(check, (world.client, world.outsider), drained) as held,
                _idle(world.outsider, drained) as idle,
            ):
                drained.helper.signal("TERM", pid=process.pid)
                drained.helper.wait_restarted(process)
        with check.phase("reconcile"):
            told = {
                outcome.header("connection")
                for traffic in held
                for outcome in _outcomes(traffic)
                if outcome.version == "HTTP/1.1" and (outcome.id or "").count("outsider")
            }
            check.equal(told, {"close"}, "what HTTP/1 peers were told by Connection")
            assert idle.result is not None
            ends = idle.result.summary.ends
            check.expect(ends.get("goaway"), "HTTP/2 peers", expected="GOAWAY", seen=ends)


@check("LC-05", last=True)
def test_streams_survive_changes(check: Check, lab: Lab, world: World) -> None:
    """Streams go on through changes of policy and endpoints and a new control plane."""
    with lab.space("lc-05") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=1)
        with contextlib.ExitStack() as running:
            streams = {
                plan.protocol: running.enter_context(world.client.app.traffic(plan))
                for plan in _streams(check, server)
            }
            with check.phase("converge"):
                _change_policies(world, server)
                scale(server, 2)
                restart_control_plane(lab)
            with check.phase("measure"):
                ended = {protocol: one.summary().calls for protocol, one in streams.items()}
                n = STREAMS * len(streams)
                bound = n * upper_bound_of_zero(n)
                check.measured(sum(ended.values()), "interrupted", interval=(0.0, bound), n=n)
                none = dict.fromkeys(streams, 0)
                check.equal(ended, none, "streams that ended before they were told to")
        with check.phase("reconcile"):
            for protocol, stream in streams.items():
                outcomes = _outcomes(stream)
                check.equal(len(outcomes), STREAMS, f"{protocol} streams")
                for outcome in outcomes:
                    _went_on(check, protocol, outcome)


@check("LC-06")
def test_a_killed_sidecar_leaks_nothing(check: Check, lab: Lab, world: World) -> None:
    """After a sidecar was killed, service comes back soon, and nothing went round it meanwhile."""
    word, plain_word = (check.random.randbytes(16).hex() for _ in range(2))
    with lab.space("lc-06") as space:
        with check.phase("arrange"):
            client = space.deploy("client", helper=True, wait=False)
            server = space.deploy("server", helper=True, wait=False)
            client.ready()
            server.ready()
        plan = Plan(
            url=server.url(f"/{word}"),
            id=check.id,
            headers=[("x-word", word)],
            rate_rps=100,
            concurrency=200,
            connections=0,
            deadline_s=3.0,
            connect_timeout_s=1.0,
            brief=True,
        )
        with server.helper.capture([word.encode(), plain_word.encode()]) as capture:
            with check.phase("control"):
                naked = world.outsider.app.one(Plan(url=server.url(f"/{plain_word}")))
                check.control(naked.ok, "an outsider is answered in plaintext", seen=naked.error)
            with check.phase("measure"):
                outages = [_outage_s(check, victim, client, plan) for victim in (server, client)]
        with check.phase("reconcile"):
            assert capture.result is not None
            check.control(capture.result.matches[1], "the capture sees plaintext")
            check.control(capture.result.is_complete, "the capture saw every packet")
            check.equal(capture.result.matches[0], 0, "packets with the client's word in the clear")
            told = {server.told(a) for a in server.app.settled().attempts if word in a.target}
            check.equal(told, {(client.identity,)}, "identities that the application was told")
            check.measured(max(outages), "s", n=len(outages))
            check.expect(
                max(outages) <= OUTAGE_S,
                "outage of server and client",
                expected=f"at most {OUTAGE_S:g} s",
                seen=outages,
            )


@contextlib.contextmanager
def _in_flight(
    check: Check, clients: tuple[Member, ...], server: Member
) -> Iterator[list[RunningTraffic]]:
    """The block runs while each client waits for answers; afterwards all must have come whole."""
    plans = {
        f"{client.role.name}-{protocol}": (
            client,
            Plan(
                url=f"http://{server.address()}:{HTTP_PORT}",
                protocol=protocol,
                id=f"{check.id}-{server.role.name}-{client.role.name}-{protocol}",
                steer=steer(delay=f"{HELD_MS}ms", size=100_000),
                count=IN_FLIGHT,
                concurrency=IN_FLIGHT,
            ),
        )
        for client in clients
        for protocol in ("h1", "h2", "grpc")
    }
    with contextlib.ExitStack() as running:
        held = [running.enter_context(c.app.traffic(plan)) for c, plan in plans.values()]
        wanted = IN_FLIGHT * len(plans)
        until(
            server.app.summary,
            what=f"{wanted} requests in progress at {server.role.name}",
            holds=lambda summary: summary.in_progress >= wanted,
            timeout_s=HELD_MS / 1000,
            interval_s=0.02,
        )
        yield held
        for name, traffic in zip(plans, held, strict=True):
            outcomes = _outcomes(traffic)
            broken = [outcome for outcome in outcomes if not outcome.ok]
            check.expect(not broken, f"{name} under way", expected="an answer", seen=broken)
            check.equal(len(outcomes), IN_FLIGHT, f"answers for {name}")


@contextlib.contextmanager
def _idle(client: Member, server: Member) -> Iterator[RunningTraffic]:
    """One HTTP/2 connection that is kept, with a call now and then, while the block runs."""
    plan = Plan(
        url=f"http://{server.address()}:{HTTP_PORT}", protocol="h2", rate_rps=10, concurrency=10
    )
    with client.app.traffic(plan) as traffic:
        traffic.wait_calls(1)
        yield traffic
        traffic.wait_calls(2)


def _streams(check: Check, server: Member) -> list[Plan]:
    endless = Messages(count=0, pace_ms=200, lockstep=True)
    http, tcp = server.url(), f"tcp://{server.host}:{TCP_PORT}"
    return [
        Plan(
            url=tcp if protocol == "tcp" else http,
            protocol=protocol,
            id=f"{check.id}-{protocol}",
            count=STREAMS,
            concurrency=STREAMS,
            connections=STREAMS,
            messages=endless,
            deadline_s=300.0,
        )
        for protocol in ("grpc", "ws", "tcp")
    ]


def _change_policies(world: World, server: Member) -> None:
    """Admit only members for a while: those who stream are members."""
    space = server.space
    for port in (HTTP_PORT, TCP_PORT):
        target = Target(namespace=space.name, labels=server.role.selector, port=port)
        source = Source(authenticated=True)
        made = space.apply(Authorize(name=f"members-{port}", target=target, sources=(source,)))
        url = f"tcp://{server.host}:{port}" if port == TCP_PORT else server.url()
        plan = Plan(url=url, protocol="tcp" if port == TCP_PORT else "h1", deadline_s=3.0)
        _until_admitted(world.outsider, plan, admitted=False)
        space.withdraw(made)
        _until_admitted(world.outsider, plan, admitted=True)


def _until_admitted(caller: Member, plan: Plan, *, admitted: bool) -> None:
    def answered() -> bool:
        outcome = caller.app.one(plan)
        return outcome.ok and outcome.body_bytes > 0

    until(
        answered,
        what=f"{caller.role.name} {'admitted to' if admitted else 'kept from'} {plan.url}",
        holds=lambda seen: seen is admitted,
        timeout_s=30.0,
    )


def _went_on(check: Check, protocol: str, outcome: Outcome) -> None:
    check.expect(outcome.ok, f"the {protocol} stream", expected="no error", seen=outcome.error)
    seen = (outcome.body_bytes, outcome.body_sha256)
    check.equal(seen, (outcome.sent_bytes, outcome.sent_sha256), f"{protocol} bytes back")
    check.control(outcome.messages_sent > 10, f"{protocol} messages flowed")
    check.expect(
        outcome.longest_gap_ns <= LONGEST_PAUSE_S * 1e9,
        f"longest pause of the {protocol} stream",
        expected=f"at most {LONGEST_PAUSE_S:g} s",
        seen=f"{outcome.longest_gap_ns / 1e9:.1f} s",
    )


def _outage_s(check: Check, victim: Member, client: Member, plan: Plan) -> float:
    """Kill a sidecar under traffic; the longest time in which no call ended well."""
    sidecar = victim.space.lab.mesh.sidecar
    assert sidecar is not None
    with client.app.traffic(plan) as traffic:
        traffic.wait_calls(50)
        process = victim.helper.process(sidecar.process)
        victim.helper.signal("KILL", pid=process.pid)
        victim.helper.wait_restarted(process)
        victim.ready()
        until(
            lambda: client.app.one(Plan(url=plan.url)),
            what=f"service after {victim.role.name}'s sidecar was killed",
            holds=lambda outcome: outcome.ok,
            timeout_s=2 * OUTAGE_S,
        )
        traffic.wait_calls(50)
    check.evidence(f"{victim.role.name}'s sidecar killed", traffic.stop().summary.results)
    ends = sorted(o.started_ns + o.ended_after_ns for o in _outcomes(traffic) if o.ok)
    return max(later - earlier for earlier, later in itertools.pairwise(ends)) / 1e9


def _outcomes(traffic: RunningTraffic) -> list[Outcome]:
    return traffic.stop().outcomes
