"""`refmesh uninstall`: prints everything of the mesh, for deletion."""

from __future__ import annotations

import click

from reference_mesh.cli import installed, inventory
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import ClusterError, RefmeshError
from reference_mesh.manifests import documents

__all__ = ["command"]

_SHOWN = 10


@click.command("uninstall")
@click.option("--force", is_flag=True, help="Go ahead although there are pods in the mesh.")
@where_options
def command(where: Where, *, force: bool) -> None:
    """
    Output the Kubernetes resources of the mesh, custom resource definitions included.

    To remove them: refmesh uninstall | kubectl delete -f -
    """
    with connected(where) as kubernetes:
        present = inventory.found(kubernetes, where.namespace)
        if not present:
            raise ClusterError(f"no control plane found in namespace {where.namespace}")
        pods = installed.meshed_pods(kubernetes, control_plane_ns=where.namespace)
    left = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if pod["metadata"]["namespace"] != where.namespace
    ]
    if left and not force:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        raise RefmeshError(
            f"these pods are in the mesh and would lose it: {', '.join(left[:_SHOWN])}{more}; "
            "uninject them and restart them first, or use --force"
        )
    click.echo(documents.dump_all(inventory.stub(item) for item in present), nl=False)
