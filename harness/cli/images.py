"""`meshmark images`: container images for clusters that meshmark did not make."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from harness import mesh as meshes
from harness.cluster.images import archived
from harness.load import arms
from harness.mesh.protocol import MeshOptions
from harness.workload import image as workload_image
from suites.stock_grpc import peers

__all__ = ["command"]


@click.group("images")
def command() -> None:
    """Make the container images of the reference mesh, of the checks and of the load agent."""


@command.command("build")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to put the archives into; without it they stay in the cache.",
)
@click.option(
    "--previous",
    metavar="REF",
    help="Make those of this build of the mesh, too: for the checks of upgrades, CP-10 and CP-13. "
    "A run takes last-change^ unless told otherwise.",
)
def build(out: Path | None, previous: str | None) -> None:
    """
    Make one archive for each image, and print where it is and the image's id.

    `docker load -i`, `kind load image-archive` and `ctr images import` take them. The same sources
    give the same ids.
    """
    mesh = meshes.driver("reference")
    images = [*mesh.images(MeshOptions()), workload_image.build(), peers.image(), arms.image()]
    if previous is not None:
        images += mesh.images(MeshOptions(build=previous))
    for image in images:
        archive = archived(image)
        path = archive.path
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            name = archive.reference.rpartition("/")[2].replace(":", "-")
            path = Path(shutil.copy(archive.path, out / f"{name}.tar"))
        click.echo(
            f"{archive.reference}  {archive.size_bytes / 1e6:.1f} MB  {archive.id}\n  {path}"
        )
