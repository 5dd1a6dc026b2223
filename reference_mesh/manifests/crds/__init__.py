"""The custom resources of the mesh, as `refmesh install --crds` prints them."""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests.crds import profile, routes, servers, splits, workloads

__all__ = ["documents"]


def documents() -> list[dict[str, Any]]:
    """Every CustomResourceDefinition, in the order to apply them."""
    return [
        *servers.documents(),
        *routes.documents(),
        *profile.documents(),
        *splits.documents(),
        *workloads.documents(),
    ]
