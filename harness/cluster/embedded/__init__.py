"""
The default engine: a Kubernetes-compatible cluster of this machine's processes.

`start` gives one that lives as long as a context, `up` and `down` a detached one. Pods are
processes in namespaces of their own; see `bootstrap` for how that is set up and what ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.cluster.embedded.launch import EmbeddedCluster, attach, down, start, up

__all__ = ["EmbeddedCluster", "attach", "down", "start", "up"]


def __getattr__(name: str) -> Any:
    # Not imported above: process 1 of a cluster imports this package too, and must stay small.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.cluster.embedded import launch  # noqa: PLC0415

    return getattr(launch, name)
