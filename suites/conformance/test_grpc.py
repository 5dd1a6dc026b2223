"""What gRPC promises, between clients and servers that are not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import check
from suites.stock_grpc import peers
from suites.stock_grpc.cases import CASES

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.lab import Lab


@check("PR-04")
def test_stock_peers_understand_each_other(check: Check, lab: Lab) -> None:
    """Every case passes between members, and where only one end is a member."""
    lab.cluster.load_images([peers.image()])
    with lab.space("pr-04") as space:
        with check.phase("arrange"):
            names = ("client", "server", "outsider")
            client, server, outsider = (
                peers.deploy(space, name, meshed=name != "outsider") for name in names
            )
            for member in (client, server, outsider):
                member.ready()
        with check.phase("measure"):
            wrong: dict[str, str] = {}
            ways = (
                ("between members", client, server),
                ("from no member", outsider, server),
                ("to no member", client, outsider),
            )
            for way, caller, callee in ways:
                for case in CASES:
                    said = peers.run(caller, callee, case)
                    if said:
                        wrong[f"{case}, {way}"] = said
            check.measured(len(wrong), "cases that failed", n=len(CASES) * len(ways))
            check.equal(wrong, {}, "cases that failed")
