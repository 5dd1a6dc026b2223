"""Malformed input: refused or made plain, never passed on, never waited for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from harness.plugin import check
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT
from suites.conformance import malformed
from suites.conformance.ways import Way, ways

if TYPE_CHECKING:
    from harness.plugin import Check
    from harness.workload.records import Outcome
    from suites.conformance.conftest import World
    from suites.conformance.malformed import Case

ENDED_S = 3.0
"""How soon a connection must have ended that carried what cannot be answered."""

AT_ONCE = 8
"""Connections at once."""

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


def _send_all(check: Check, way: Way, cases: list[Case]) -> None:
    """Send every case; compare what the application saw with what it may have seen."""
    way.server.app.reset()
    helper, address = way.caller.helper, f"{way.server.cluster_ip()}:{HTTP_PORT}"

    def send(case: Case) -> Outcome:
        # Where only a stream has to end, the end of the client's half ends the connection.
        half_close = not case.must_end
        return helper.raw(address, case.bytes, half_close=half_close, deadline_s=ENDED_S)

    wrong: dict[str, object] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for case, outcome in zip(cases, pool.map(send, cases), strict=True):
            if _is_hanging(outcome):
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


def _is_hanging(outcome: Outcome) -> bool:
    return outcome.error is not None and outcome.error.kind == "timeout"


def _must_have_ended(check: Check, outcome: Outcome, what: str) -> None:
    check.expect(not _is_hanging(outcome), what, expected="ended", seen=outcome.error)


def _still_serves(check: Check, way: Way) -> None:
    outcome = way.caller.app.one(Plan(url=way.server.url("/afterwards")))
    check.equal(outcome.status, 200, f"a good request {way.name}, after all that")
