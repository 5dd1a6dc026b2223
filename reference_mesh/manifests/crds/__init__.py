"""The custom resources of the mesh, as `refmesh install --crds` prints them."""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests import names
from reference_mesh.manifests.crds import profile, routes, servers, splits, workloads

__all__ = ["documents"]


def documents(namespace: str = names.DEFAULT_NAMESPACE) -> list[dict[str, Any]]:
    """
    Every CustomResourceDefinition, in the order to apply them.

    namespace: of the control plane that they are labelled with, and uninstalled with.
    """
    made = [
        *servers.documents(),
        *routes.documents(),
        *profile.documents(),
        *splits.documents(),
        *workloads.documents(),
    ]
    for definition in made:
        definition["metadata"]["labels"] = {names.CONTROL_PLANE_NS: namespace}
    return made
