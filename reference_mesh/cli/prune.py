"""`refmesh prune`: prints what earlier versions left on the cluster."""

from __future__ import annotations

import click

from reference_mesh.cli import installed, inventory
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where, where_options
from reference_mesh.manifests import components, control_plane, crds, documents, overrides

__all__ = ["command"]


@click.command("prune")
@where_options
def command(where: Where) -> None:
    """
    Output resources of the mesh that this version does not have.

    To remove them: refmesh prune | kubectl delete -f -
    """
    with connected(where) as kubernetes:
        installation = installed.installation(kubernetes, where.namespace)
        present = inventory.found(kubernetes, where.namespace)
    values, _ = overrides.combine(installation.overrides)
    wanted = control_plane.render(values, installation.credentials, namespace=where.namespace)
    left = inventory.without(present, [*wanted, *crds.documents()])
    # An issuer that something else keeps is not among those wanted, and is never left over.
    left = [item for item in left if item["metadata"]["name"] != components.ISSUER_SECRET]
    click.echo(documents.dump_all(left), nl=False)
