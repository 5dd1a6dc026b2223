"""Bringing images to the nodes of a kind cluster: each where it is missing, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.cluster.images import archived
from harness.cluster.kind.program import docker, kind
from harness.errors import ClusterError, MeshmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cluster.model import Image

__all__ = ["load"]

_LOAD_S = 300.0
"""For hundreds of megabytes on a machine with much to do."""


def load(cluster: str, nodes: Sequence[str], images: Sequence[Image]) -> None:
    """Load the images to the nodes that have none of that name with the same content."""
    for image in images:
        archive = archived(image)
        missing = [node for node in nodes if _content_on(node, image.reference) != archive.id]
        if not missing:
            continue
        try:
            kind("load", "image-archive", str(archive.path), "--name", cluster,
                 "--nodes", ",".join(missing), timeout_s=_LOAD_S)  # fmt: skip
        except ClusterError as error:
            what = f"image {image.reference} for kind cluster {cluster}"
            raise ClusterError(f"{what}: {error}") from error


def _content_on(node: str, reference: str) -> str:
    """The id of an image on a node: the digest of its configuration; empty without it."""
    try:
        said = docker("exec", node, "crictl", "inspecti", "-o", "json", reference)
    except MeshmarkError:
        return ""
    return str(json.loads(said)["status"]["id"])
