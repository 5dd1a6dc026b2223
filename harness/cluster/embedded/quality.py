"""How a pod is called by what it reserves: its class of quality of service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cluster.embedded.store import Obj

__all__ = ["quality_of"]

_COUNTED = ("cpu", "memory")


def quality_of(spec: Obj) -> str:
    """
    Guaranteed, Burstable or BestEffort, for the spec of a pod.

    Rules: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/. Only CPU and memory count.
    """
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [each.get("resources") or {} for each in containers]
    pairs = [
        ((each.get("requests") or {}).get(name), (each.get("limits") or {}).get(name))
        for each in resources
        for name in _COUNTED
    ]
    if not any(request or limit for request, limit in pairs):
        return "BestEffort"
    # What is not requested is requested as it is limited.
    whole = all(limit and request in {None, limit} for request, limit in pairs)
    return "Guaranteed" if whole else "Burstable"
