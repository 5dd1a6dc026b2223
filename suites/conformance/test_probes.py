"""Health probes, which come from the node and prove no identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import check
from harness.waiting import until
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT
from suites.conformance import policing
from suites.conformance.joining import refusal

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

PROBED = "/health/live"
"""What the pod declares: a liveness probe, by GET, at the first of its two HTTP ports."""

OTHER_PORT = 8081

NEAR = (
    ("GET", "/", HTTP_PORT),
    ("GET", "/health", HTTP_PORT),
    ("GET", f"{PROBED}/", HTTP_PORT),
    ("GET", f"{PROBED}/more", HTTP_PORT),
    ("GET", PROBED.upper(), HTTP_PORT),
    ("GET", f"/more{PROBED}", HTTP_PORT),
    ("GET", f"/?{PROBED}", HTTP_PORT),
    ("POST", PROBED, HTTP_PORT),
    ("DELETE", PROBED, HTTP_PORT),
    ("GET", PROBED, OTHER_PORT),
)
"""What is nearly the probe, and is not declared: method, target and port."""

CALLS = 20


@check("AZ-20")
def test_only_declared_probes_are_exempt(check: Check, lab: Lab, world: World) -> None:
    """The node's probe passes a port that admits nobody; what only resembles it does not."""
    with lab.space("az-20") as space:
        with check.phase("arrange"):
            server = space.deploy("server", liveness_path=PROBED, ports=(OTHER_PORT,))
        with check.phase("apply"):
            for port in (HTTP_PORT, OTHER_PORT):
                policing.authorize(server, port=port)
        with check.phase("converge"):
            for port in (HTTP_PORT, OTHER_PORT):
                _until_closed(world.client, server, port)
            server.app.reset()
        with check.phase("measure"):
            for caller in (world.client, world.outsider):
                for method, target, port in NEAR:
                    plan = Plan(url=server.url(target, port), method=method, count=CALLS)
                    told = {refusal(outcome) for outcome in caller.app.call(plan)}
                    what = f"{method} {target} at port {port} of the {caller.role.name}"
                    check.equal(told, {"403"}, what)
            _until_probed(server)
        with check.phase("reconcile"):
            attempts = server.app.settled().attempts
            check.measured(len(attempts), "probes", n=len(NEAR) * 2 * CALLS)
            seen = {(each.method, each.target, each.port) for each in attempts}
            check.equal(seen, {("GET", PROBED, HTTP_PORT)}, "what the application saw")
            check.equal(_restarts(server), 0, "restarts of the application")


def _until_closed(caller: Member, server: Member, port: int) -> None:
    until(
        lambda: refusal(caller.app.one(Plan(url=server.url(port=port)))),
        what=f"port {port} of {server.role.name} admits nobody",
        holds=lambda told: told == "403",
        timeout_s=10.0,
        hint="The policy was applied; the server's sidecar does not follow it.",
    )


def _until_probed(server: Member) -> None:
    until(
        lambda: [each.target for each in server.app.settled().attempts],
        what=f"the node's probe of {server.role.name} arrives",
        holds=lambda targets: PROBED in targets,
        timeout_s=10.0,
        hint="The sidecar lets nobody in, and not the probe that the pod declares either.",
    )


def _restarts(server: Member) -> int:
    (pod,) = server.pods()
    statuses = (pod.status.containerStatuses if pod.status else None) or []
    return sum(each.restartCount for each in statuses if each.name == "app")
