"""Whether a cluster has a node for every replica that keeps off the others' nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.cli.kubernetes import path
from reference_mesh.cli.report import WARN
from reference_mesh.errors import ClusterError

if TYPE_CHECKING:
    from reference_mesh.cli.kubernetes import Kubernetes
    from reference_mesh.manifests.values import Values

__all__ = ["warning"]

_REPELLING = {"NoSchedule", "NoExecute"}


def warning(values: Values, kubernetes: Kubernetes) -> str:
    """A line for who would have replicas that stay pending; empty where none would."""
    wanted = values.controller_replicas
    if not values.enable_pod_anti_affinity or wanted < 2:
        return ""
    try:
        nodes = sum(map(_takes_pods, kubernetes.items(path("v1", "nodes"))))
    except ClusterError:  # who may not read nodes may install all the same
        return ""
    if nodes >= wanted:
        return ""
    left = wanted - nodes
    return (
        f"{WARN} each component has {wanted} replicas, no two on one node, and this cluster has "
        f"{nodes} for them: {left} of each {'stays' if left == 1 else 'stay'} pending; add nodes, "
        f"or take fewer with --set=controllerReplicas={max(1, nodes)}\n"
    )


def _takes_pods(node: dict[str, Any]) -> bool:
    """Whether pods without tolerations, as those of the control plane, may be placed on it."""
    spec = node.get("spec") or {}
    taints = spec.get("taints") or ()
    repels = any(taint.get("effect") in _REPELLING for taint in taints)
    return not spec.get("unschedulable") and not repels
