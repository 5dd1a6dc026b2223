"""`meshmark up`: a cluster that stays."""

from __future__ import annotations

import shlex

import click

from harness import mesh as meshes
from harness.cluster import embedded
from harness.cluster.embedded import launch
from harness.mesh.protocol import MeshOptions
from harness.workload import image as workload_image

__all__ = ["command"]


@click.command("up")
@click.option("--name", default="meshmark", show_default=True, help="Name of the cluster.")
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Port of the API server on loopback; 0 picks a free one.",
)
@click.option("--bare", is_flag=True, help="Build and load no images.")
def command(name: str, port: int, bare: bool) -> None:
    """
    Start a cluster, leave it running, and print the line that points kubectl at it.

    It knows the images of the reference mesh and of the test application, so that
    `refmesh install | kubectl apply -f -` works at once.
    """
    launch.require()
    launch.refuse_twice(name)
    images = []
    if not bare:
        click.echo("building what the reference mesh and the test application run", err=True)
        images = [*meshes.driver("reference").images(MeshOptions()), workload_image.build()]
    cluster = embedded.up(name, port=port)
    if images:
        cluster.load_images(images)
    click.echo(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
