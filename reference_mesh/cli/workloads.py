"""Where the pods are in a Kubernetes object."""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["INJECTABLE", "described", "pod_of", "with_pod"]

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "Pod": (),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}

INJECTABLE = frozenset(_TEMPLATES)
"""Kinds that pods come from."""


def pod_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Pod template of an object (the object itself for a Pod), or None when it makes no pods."""
    path = _TEMPLATES.get(str(document.get("kind")))
    if path is None:
        return None
    node: Any = document
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) and isinstance(node.get("spec"), dict) else None


def with_pod(document: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    """Copy an object, with another pod template."""
    *parents, last = _TEMPLATES[str(document["kind"])] or ("",)
    if not last:
        return copy.deepcopy(pod)
    result = copy.deepcopy(document)
    node: Any = result
    for name in parents:
        node = node[name]
    node[last] = copy.deepcopy(pod)
    return result


def described(document: dict[str, Any]) -> tuple[str, str]:
    """Kind in lower case, and name; what reports call an object."""
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return str(document.get("kind") or "").lower(), str(name)
