"""Too few nodes for the replicas of `--ha` are told, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

CONTROL_PLANE = {
    "taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
}
PREFERS_NOT = {"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]}


def add_nodes(api: Any, *specs: dict[str, Any]) -> None:
    for number, spec in enumerate(specs):
        name = f"n{number}"
        api.add({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})


@pytest.fixture(params=["install", "upgrade"])
def told(request: pytest.FixtureRequest, refmesh: Callable[..., Result]) -> Callable[..., str]:
    """What one of the commands says on standard error."""
    if request.param == "upgrade":
        request.getfixturevalue("installed")
    else:
        request.getfixturevalue("api").apply(refmesh("install", "--crds").stdout)

    def run(*options: str) -> str:
        result = refmesh(request.param, *options)
        assert result.exit_code == 0, result.stderr
        assert "kind: Deployment" in result.stdout
        return result.stderr

    return run


def test_replicas_without_a_node_are_told(told: Callable[..., str], api: Any) -> None:
    add_nodes(api, CONTROL_PLANE, {}, PREFERS_NOT, {"unschedulable": True})
    assert told("--ha") == (
        "‼ each component has 3 replicas, no two on one node, and this cluster has 2 for them: "
        "1 of each stays pending; add nodes, or take fewer with --set=controllerReplicas=2\n"
    )
    assert told("--ha", "--set=controllerReplicas=2") == ""
    assert told("--ha", "--set=enablePodAntiAffinity=false") == ""
    assert told() == ""


def test_enough_nodes_are_no_matter(told: Callable[..., str], api: Any) -> None:
    add_nodes(api, CONTROL_PLANE, {}, {}, {})
    assert told("--ha") == ""


def test_who_may_not_read_nodes_hears_nothing(told: Callable[..., str], api: Any) -> None:
    api.pages["/api/v1/nodes"] = (403, '{"kind": "Status", "message": "forbidden"}')
    assert told("--ha") == ""
