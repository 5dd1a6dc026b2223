"""`meshmark up`: a cluster that stays."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from harness import mesh as meshes
from harness.cluster import choice, embedded, kind
from harness.errors import UsageError
from harness.mesh.protocol import MeshOptions
from harness.workload import image as workload_image

if TYPE_CHECKING:
    from harness.cluster.api_cluster import ApiCluster

__all__ = ["command"]


@click.command("up")
@click.option("--name", default="meshmark", show_default=True, help="Name of the cluster.")
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Port of the API server on loopback; 0 picks a free one.",
)
@click.option(
    "--cluster",
    "engine",
    default="embedded",
    show_default=True,
    type=click.Choice(choice.ENGINES),
    help="What the cluster is made of: processes of this machine, or kind's nodes in Docker.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 8),
    help=f"kind: nodes besides the control plane.  [default: {kind.WORKERS}]",
)
@click.option("--bare", is_flag=True, help="Build and load no images.")
def command(name: str, port: int, engine: str, workers: int | None, bare: bool) -> None:
    """
    Start a cluster, leave it running, and print the line that points kubectl at it.

    It knows the images of the reference mesh and of the test application, so that
    `refmesh install | kubectl apply -f -` works at once.
    """
    if workers is not None and engine != "kind":
        raise UsageError(f"--workers is for --cluster kind; the {engine} engine has one node")
    choice.require(engine)
    choice.refuse_twice(engine, name)
    images = []
    if not bare:
        click.echo("building what the reference mesh and the test application run", err=True)
        images = [*meshes.driver("reference").images(MeshOptions()), workload_image.build()]
    cluster: ApiCluster
    if engine == "kind":
        workers = kind.WORKERS if workers is None else workers
        click.echo(f"making {workers + 1} nodes, which takes about half a minute", err=True)
        cluster = kind.up(name, port=port, workers=workers, images=images)
    else:
        cluster = embedded.up(name, port=port)
        cluster.load_images(images)
    click.echo(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
