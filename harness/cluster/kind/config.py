"""What `kind create cluster` is told: how many nodes, and what this machine needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["cluster_config"]

POD_RANGE_BITS = 26
"""Of each node's pod addresses: 62 pods, few enough for an address to come back within a check."""


def cluster_config(
    *, image: str, workers: int, port: int = 0, host: Mapping[str, Any] | None = None
) -> str:
    """
    The configuration of a cluster as YAML.

    image: of every node. workers: nodes besides the control plane; with none, pods run on that one.
    port: of the API server on 127.0.0.1; 0 takes any free one.
    host: what this machine needs on top, in kind's own words.
    """
    roles = ["control-plane", *["worker"] * workers]
    config: dict[str, Any] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1", "apiServerPort": port},
        "nodes": [{"role": role, "image": image} for role in roles],
        "kubeadmConfigPatches": [_small_pod_ranges()],
    }
    for key, value in (host or {}).items():
        config[key] = _joined(config.get(key), value)
    return yaml.safe_dump(config, sort_keys=False)


def _small_pod_ranges() -> str:
    arguments = {"node-cidr-mask-size": str(POD_RANGE_BITS)}
    patch = {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": arguments}}
    return yaml.safe_dump(patch, sort_keys=False)


def _joined(ours: Any, hosts: Any) -> Any:
    if isinstance(ours, list):
        return [*ours, *hosts]
    if isinstance(ours, dict):
        return {**ours, **hosts}
    return hosts
