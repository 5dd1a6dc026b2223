"""A run on somebody's cluster installs its mesh and deletes it: never one that was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from suites.namespaces import removal as namespaces_removal

if TYPE_CHECKING:
    from harness.cluster import Cluster
    from harness.mesh.protocol import Mesh

__all__ = ["removal", "require_vacant"]

_SHOWN = 4


def require_vacant(mesh: Mesh, cluster: Cluster) -> None:
    """
    Make sure that the cluster has no mesh of this kind, nor a part of one.

    Raises:
        UsageError: it has; names what is there, and the way out.
        ClusterError: the API does not answer, or does not let us look.

    """
    cluster.require_answer()
    found = mesh.present(cluster)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(
            f"cluster {cluster.name} has a mesh already, or a part of one: "
            f"{', '.join(found[:_SHOWN])}{more}. A run would install over it, and delete it in the "
            "end: take another cluster. If it was left by a run that was killed or had --keep, and "
            f"nobody needs it: {removal(mesh, cluster)}"
        )


def removal(mesh: Mesh, cluster: Cluster) -> str:
    """The shell commands that take from a cluster what a run left there."""
    return " && ".join(filter(None, [namespaces_removal(cluster), mesh.removal(cluster)]))
