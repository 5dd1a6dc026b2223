"""`refmesh version`: of this program, of the control plane, of the proxies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import ClusterError
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from reference_mesh.cli.kubernetes import Kubernetes

__all__ = ["command", "server_version"]


@click.command("version")
@click.option("--client", "client_only", is_flag=True, help="Print the client version only.")
@click.option("--short", is_flag=True, help="Print the bare version numbers.")
@click.option("--proxy", "proxies", is_flag=True, help="Print the versions of the proxies too.")
@click.option("-n", "--namespace", metavar="NAMESPACE", help="Namespace of the proxies.")
@where_options
def command(
    where: Where, *, client_only: bool, short: bool, proxies: bool, namespace: str | None
) -> None:
    """Print the versions of client and server."""
    click.echo(names.VERSION if short else f"Client version: {names.VERSION}")
    if client_only:
        return
    # Only here: the client's own version needs no cluster and none of its libraries.
    from reference_mesh.cli.kubernetes import connected  # noqa: PLC0415

    counts: Counter[str] = Counter()
    try:
        with connected(where) as kubernetes:
            server = server_version(kubernetes, where.namespace) or "unavailable"
            if proxies:
                counts = _proxies(kubernetes, where.namespace, namespace)
    except ClusterError as error:
        server = "unavailable"
        click.echo(f"Error: {error}", err=True)
    click.echo(server if short else f"Server version: {server}")
    if proxies:
        click.echo("Proxy versions:" if counts else "Proxy versions: unavailable")
        for version, count in sorted(counts.items()):
            click.echo(f"\t{version} ({count} pods)")


def server_version(kubernetes: Kubernetes, namespace: str) -> str | None:
    """Version of the control plane that is installed, or None."""
    from reference_mesh.cli.kubernetes import path  # noqa: PLC0415

    address = path("apps/v1", "deployments", namespace, "linkerd-destination")
    deployment = kubernetes.find(address)
    if deployment is None:
        return None
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        if container["name"] == "destination":
            return str(container["image"]).rpartition(":")[2]
    return None


def _proxies(kubernetes: Kubernetes, control_plane_ns: str, namespace: str | None) -> Counter[str]:
    from reference_mesh.cli import installed  # noqa: PLC0415

    pods = installed.meshed_pods(kubernetes, namespace, control_plane_ns=control_plane_ns)
    return Counter(
        (pod["metadata"].get("annotations") or {}).get(names.PROXY_VERSION, "unknown")
        for pod in pods
    )
