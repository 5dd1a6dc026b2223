"""
What keeps the control plane there when a node goes, as Linkerd's values for high availability do.

`refmesh install --ha` lays `OVERRIDES` under what the user chooses. Replicas need nothing else:
none of them writes what another one reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import names

if TYPE_CHECKING:
    from reference_mesh.manifests.values import Values

__all__ = ["OVERRIDES", "affinity", "budget_spec", "strategy"]

OVERRIDES: dict[str, Any] = {
    "highAvailability": True,
    "controllerReplicas": 3,
    "controllerResources": {
        "cpu": {"request": "100m"},
        "memory": {"request": "50Mi", "limit": "250Mi"},
    },
    "deploymentStrategy": {"rollingUpdate": {"maxUnavailable": "1"}},
    "enablePodAntiAffinity": True,
    "enablePodDisruptionBudget": True,
    "proxy": {
        "resources": {"cpu": {"request": "100m"}, "memory": {"request": "20Mi", "limit": "250Mi"}}
    },
    "webhookFailurePolicy": "Fail",
}
"""
Values of `--ha`.

One pod may be away in a rollout: with as many nodes as replicas, and no two of them on one node,
a new pod finds no place before an old one has left.
"""


def affinity(component: str) -> dict[str, Any]:
    """Keep replicas of a component off each other's nodes, and out of each other's zones if so."""
    expression = {"key": names.COMPONENT, "operator": "In", "values": [component]}
    selector = {"matchExpressions": [expression]}
    zones = {"labelSelector": selector, "topologyKey": "topology.kubernetes.io/zone"}
    nodes = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": zones}
            ],
            "requiredDuringSchedulingIgnoredDuringExecution": [nodes],
        }
    }


def budget_spec(component: str) -> dict[str, Any]:
    """Spec of the PodDisruptionBudget of a component: a drain takes one replica at a time."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": {names.COMPONENT: component}}}


def strategy(values: Values) -> dict[str, Any]:
    """How a Deployment replaces its pods; with its type, as kubectl sees a change otherwise."""
    update = values.deployment_strategy.rolling_update
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {
            "maxSurge": _count_or_share(update.max_surge),
            "maxUnavailable": _count_or_share(update.max_unavailable),
        },
    }


def _count_or_share(text: str) -> int | str:
    return int(text) if text.isdigit() else text
