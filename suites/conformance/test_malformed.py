"""Malformed input: refused or made plain, never passed on, never waited for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from harness.plugin import check
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT
from suites.conformance import frames, malformed, memory
from suites.conformance.ways import Way, ways

if TYPE_CHECKING:
    from harness.plugin import Check
    from harness.workload.records import Outcome
    from suites.conformance.conftest import World
    from suites.conformance.malformed import Case
    from suites.lab import Lab
    from suites.member import Member

ENDED_S = 3.0
"""How soon a connection must have ended that carried what cannot be answered."""

STREAM_ENDED_S = 1.5
"""How soon a stream must have ended that carried such, on a connection that is kept open."""

AT_ONCE = 12
"""Connections at once."""

LARGE_BYTES = 50_000
"""Cases above this size are sent again and again, to see whether anything of them is kept."""

ROUNDS = 16
KEPT_BYTES = 1 << 20
"""
Growth of a sidecar's peak memory that says nothing: 16 heads of 64 KiB that are kept are as much.
Before it is measured every large case was sent, as many at once as later, so that what buffers need
is there already.
"""

SILENT_S = 15.0
"""Longer than a mesh may wait for the first byte of a connection."""


@check("PR-07")
def test_malformed_http1(check: Check, world: World) -> None:
    """What could be read in two ways is refused; nobody sees a request that was not sent."""
    with check.phase("measure"):
        for way in ways(world):
            _send_all(check, way, malformed.http1())


@check("PR-07")
def test_malformed_http2(check: Check, world: World) -> None:
    """What breaks the rules of HTTP/2 ends the stream or the connection, and is not served."""
    with check.phase("measure"):
        for way in ways(world):
            _send_all(check, way, malformed.http2())


@check("PR-07")
def test_noise_and_silence(check: Check, world: World) -> None:
    """Bytes that pretend to be TLS, and connections without a byte, come to an end."""
    server, outsider = world.server, world.outsider
    with check.phase("arrange"):
        point = world.space.lab.mesh.ingress_point(world.space.name, server.role.account, HTTP_PORT)
        mesh_port = f"{server.address()}:{point.port}"
        helper = outsider.helper
        server.app.reset()
    with ThreadPoolExecutor(2) as pool, check.phase("measure"):
        silent = {
            address: pool.submit(helper.raw, address, deadline_s=SILENT_S)
            for address in (mesh_port, f"{server.address()}:{HTTP_PORT}")
        }
        for case in malformed.tls():
            outcome = helper.raw(mesh_port, case.bytes, deadline_s=ENDED_S)
            _must_have_ended(check, outcome, f"{case.name} at the mesh's own port")
        for address, waiting in silent.items():
            _must_have_ended(check, waiting.result(), f"a silent connection to {address}")
    with check.phase("reconcile"):
        seen = [attempt.target for attempt in server.app.settled().attempts]
        check.equal(seen, [], "requests that the application saw")
        _still_serves(check, Way("afterwards", world.client, server))


@check("PR-09")
def test_nothing_is_kept_of_malformed_input(check: Check, lab: Lab, world: World) -> None:
    """However often large heads and header blocks are refused, the sidecars need no more memory."""
    large = [c for c in malformed.http1() + malformed.http2() if len(c.bytes) > LARGE_BYTES]
    with lab.space("refused") as space:
        with check.phase("arrange"):
            # Of their own, as a sidecar that carried something large has had its peak.
            client = space.deploy("client", helper=True, wait=False)
            server = space.deploy("server", wait=False)
            client.ready()
            server.ready()
            for caller in (client, world.outsider):
                _send_again(caller, server, large * 4)
        with memory.bounded(check, (client, server), KEPT_BYTES), check.phase("measure"):
            for caller in (client, world.outsider):
                _send_again(caller, server, large * ROUNDS)


def _send_again(caller: Member, server: Member, cases: list[Case]) -> None:
    helper, address = caller.helper, f"{server.cluster_ip()}:{HTTP_PORT}"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda case: helper.raw(address, case.bytes, deadline_s=ENDED_S), cases):
            pass


def _send_all(check: Check, way: Way, cases: list[Case]) -> None:
    """Send every case; compare what the application saw with what it may have seen."""
    way.server.app.reset()
    helper, address = way.caller.helper, f"{way.server.cluster_ip()}:{HTTP_PORT}"

    def send(case: Case) -> Outcome:
        deadline_s = ENDED_S if case.must_end else STREAM_ENDED_S
        return helper.raw(address, case.bytes, deadline_s=deadline_s)

    wrong: dict[str, object] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for case, outcome in zip(cases, pool.map(send, cases), strict=True):
            if not _has_ended(case, outcome):
                wrong[f"{case.name}: not ended"] = outcome.body_head[:60]
    whole = set()
    for attempt in way.server.app.settled().attempts:
        if attempt.outcome == "malformed":
            wrong[f"passed on as it was: {attempt.target[:60]}"] = attempt.note
        # The head of a request may be on its way before its body turns out to be malformed; the
        # application must then see the request break off.
        elif attempt.outcome != "abandoned":
            whole.add(attempt.target)
    for case in cases:
        own = {target for target in whole if target.startswith(case.mark)}
        whole -= own
        if not own <= set(case.seen):
            wrong[f"{case.name}: taken for a whole request"] = sorted(own)
    if whole:
        wrong["requests that nobody made"] = sorted(whole)
    check.measured(len(wrong), "cases passed on", n=len(cases))
    check.equal(wrong, {}, f"malformed input {way.name}")
    _still_serves(check, way)


def _has_ended(case: Case, outcome: Outcome) -> bool:
    """Whether what had to end did: the connection, or the case's stream on one that is open."""
    if not _is_hanging(outcome):
        return True
    received = outcome.body_head.encode("latin-1")
    return not case.must_end and frames.end_of_stream(received, 1) is not None


def _is_hanging(outcome: Outcome) -> bool:
    return outcome.error is not None and outcome.error.kind == "timeout"


def _must_have_ended(check: Check, outcome: Outcome, what: str) -> None:
    check.expect(not _is_hanging(outcome), what, expected="ended", seen=outcome.error)


def _still_serves(check: Check, way: Way) -> None:
    outcome = way.caller.app.one(Plan(url=way.server.url("/afterwards")))
    check.equal(outcome.status, 200, f"a good request {way.name}, after all that")
