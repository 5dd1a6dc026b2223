"""What the proxies count, against the ledgers of who sent and who received."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from harness.mesh.protocol import Answer, Unsecured
from harness.plugin import check
from harness.waiting import until
from harness.workload.plans import Plan, steer
from suites.conformance import exceptions
from suites.conformance.joining import pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from harness.mesh.protocol import Telemetry
    from harness.plugin import Check
    from harness.workload.records import Attempt, Outcome
    from suites.conformance.conftest import World
    from suites.lab import Lab, Space
    from suites.member import Member

    _Protocol = Literal["h1", "h2", "grpc"]

FLUSH_S = 5.0
"""Counters may lag behind the responses by this much."""

ENDED_S = 60.0
"""Pods that were told to end have 30 s for it, unless they ask for more."""

_STATUSES = {200: 120, 404: 30, 500: 20, 503: 30}
"""How many requests are answered with which status, by each protocol."""

_GRPC_STATUSES = {0: 120, 5: 30, 13: 20, 14: 30}
"""The same of gRPC, all of them with status 200 in the head."""

_GRPC_FAILURES = {2, 4, 7, 13, 14, 15}
"""
The codes that Linkerd blames the server for: unknown, deadline exceeded, permission denied,
internal, unavailable, data loss.
"""


@dataclasses.dataclass(frozen=True)
class _Counted:
    """Who called whom, with the two ledgers of it."""

    client: Member
    server: Member
    pairs: list[tuple[Outcome, Attempt]]


@check("OB-01")
def test_counters_equal_the_ledgers(check: Check, lab: Lab, world: World) -> None:
    """Both sides count each request, response and latency once, by peer, status and judgement."""
    with lab.space("ob-01") as space:
        with check.phase("arrange"):
            client, server = _members(space)
        total = 0
        for protocol in ("h1", "h2", "grpc"):
            with check.phase("measure"):
                before = client.telemetry(), server.telemetry()
                meshed = _calls(check, client, server, [protocol])
                others = _calls(check, world.outsider, server, [protocol])
            with check.phase("reconcile"):
                outbound = _answers(meshed, "outbound", server.identity)
                inbound = _answers(meshed, "inbound", client.identity)
                inbound += _answers(others, "inbound", "")
                _agree(check, client, protocol, outbound, before[0])
                _agree(check, server, protocol, inbound, before[1])
                total += len(inbound) + len(outbound)
        check.measured(total, "requests", n=total)


@check("OB-04")
def test_identity_labels_are_true(check: Check, lab: Lab, world: World) -> None:
    """Proxies name the peer of each request, or why there was no mesh TLS."""
    with lab.space("ob-04") as space:
        with check.phase("arrange"):
            client, server = _members(space)
        with check.phase("measure"):
            to_server = len(_calls(check, client, server).pairs)
            to_plain = len(_calls(check, client, world.plain).pairs)
            by_outsider = len(_calls(check, world.outsider, server).pairs)
        with check.phase("reconcile"):
            check.measured(to_server + to_plain + by_outsider, "requests")
            _flushed(check, server, "peers", {("inbound", client.identity): to_server})
            _flushed(check, client, "peers", {("outbound", server.identity): to_server})
            without = {("inbound", Unsecured.CLIENT_IN_PLAINTEXT): by_outsider}
            _flushed(check, server, "unsecured", without)
            without = {("outbound", Unsecured.SERVER_NOT_IN_MESH): to_plain}
            _flushed(check, client, "unsecured", without)


@check("OB-09", looks_back=True)
def test_logs_are_clean(check: Check, lab: Lab, world: World) -> None:
    """Nothing in the mesh or beside it logged an error, panicked or was restarted unasked."""
    _judge_logs(check, lab, world)


@check("OB-12", looks_back=True)
def test_logs_are_clean_where_certificates_are_short(check: Check, lab: Lab, world: World) -> None:
    """The same of the other lane, which has a control plane and a logbook of its own."""
    _judge_logs(check, lab, world)


def _judge_logs(check: Check, lab: Lab, world: World) -> None:
    with check.phase("measure"):
        # What happens here counts too, and an error per request must show without other checks.
        outcomes = world.client.app.call(Plan(url=world.server.url(), id=check.id, count=20))
        check.expect(
            all(outcome.ok for outcome in outcomes), "calls", expected="no failure", seen=outcomes
        )
        with lab.space(check.id) as space:
            passing = space.deploy("passing")  # ends as all pods of spaces do, by itself enough
            passing.app.one(Plan(url=world.server.url()))
            passing.delete()
        for namespace in (world.space.name, *lab.mesh.control_plane()):
            lab.logbook.read(lab.cluster, namespace)
    with check.phase("converge"):
        for cut in lab.logbook.settle(lab.cluster, ENDED_S):
            check.evidence("log without its end", cut)
    with check.phase("reconcile"):
        check.control(lab.logbook.lines_read > 0, "the logs have lines")
        excused = exceptions.read()
        left = [entry for entry in lab.logbook.entries if not excused.covers(entry)]
        for entry in left:
            check.evidence("log", str(entry))
        check.measured(len(left), "entries", n=lab.logbook.lines_read)
        check.equal([str(entry) for entry in left[:5]], [], "errors and restarts")
        lost = [member.app.summary().dropped for member in (world.client, world.server)]
        check.equal(lost, [0, 0], "records that the ledgers lost")


def _members(space: Space) -> tuple[Member, Member]:
    client = space.deploy("client", wait=False)
    server = space.deploy("server", wait=False)
    return client.ready(), server.ready()


def _calls(
    check: Check, client: Member, server: Member, protocols: Sequence[_Protocol] = ("h1", "h2")
) -> _Counted:
    """Requests with each status by each protocol, each joined with its arrival."""
    since = server.app.summary().last
    outcomes: list[Outcome] = []
    for protocol in protocols:
        grpc = protocol == "grpc"
        for status, count in (_GRPC_STATUSES if grpc else _STATUSES).items():
            plan = Plan(
                url=server.url(),
                protocol=protocol,
                id=f"{check.id}-{client.role.name}-{server.role.name}-{protocol}-{status}",
                steer=steer(grpc_status=status) if grpc else steer(status=status),
                count=count,
                concurrency=4,
            )
            found = client.app.call(plan)
            told = Counter(o.grpc_status if grpc else o.status for o in found)
            check.equal(told, Counter({status: count}), f"statuses of {protocol}")
            outcomes += found
    attempts = server.app.settled(since).attempts
    way = f"{client.role.name} to {server.role.name}"
    return _Counted(client, server, pairs(check, outcomes, attempts, way))


def _answers(counted: _Counted, direction: str, peer: str) -> list[Answer]:
    """What one side's proxy has to count: by the client's ledger outbound, the server's inbound."""
    made = []
    for outcome, attempt in counted.pairs:
        status = (outcome.status if direction == "outbound" else attempt.status) or 0
        code = outcome.grpc_status
        success = status < 500 if code is None else code not in _GRPC_FAILURES
        made.append(Answer(direction, peer, status, success, code))
    return made


def _agree(
    check: Check, member: Member, protocol: str, answers: list[Answer], before: Telemetry
) -> None:
    """Everything that the member's proxy has counted since `before` is what the ledgers say."""
    expected: dict[str, Counter[Any]] = {
        "asked": Counter((each.direction, each.peer) for each in answers),
        "answers": Counter(answers),
        "timed": Counter((each.direction, each.peer, each.status) for each in answers),
    }
    for field, counts in expected.items():
        _flushed(check, member, field, counts, before=before, how=f" by {protocol}")


def _flushed(
    check: Check,
    member: Member,
    field: str,
    expected: Mapping[Any, int],
    *,
    before: Telemetry | None = None,
    how: str = "",
) -> None:
    """
    Wait for the counters to arrive at what the ledgers say; they may not go beyond it.

    before: count from there on. how: for the reader.
    """
    earlier: Mapping[Any, int] = getattr(before, field) if before else {}

    def seen() -> dict[Any, int]:
        counted: dict[Any, int] = getattr(member.telemetry(), field)
        grown = {key: count - earlier.get(key, 0) for key, count in counted.items()}
        return {key: count for key, count in grown.items() if count}

    def complete(found: dict[Any, int]) -> bool:
        return sum(found.values()) >= sum(expected.values())

    what = f"{field}{how} that {member.role.name}'s proxy counted"
    with check.phase("converge"):
        found = until(seen, what=f"{what}: {dict(expected)}", holds=complete, timeout_s=FLUSH_S)
    check.equal(found, dict(expected), what)
