"""
Which image the nodes of a cluster are made from.

kind's own, pinned by digest, where Docker has it or can pull it. Elsewhere the one that `meshmark
node-image build` makes; a node made from either does the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.cluster.kind.node_image.versions import BUILT, PINNED
from harness.cluster.kind.program import docker
from harness.errors import ClusterError, EnvironmentLacks, MeshmarkError, NotInTime

__all__ = ["BUILT", "PINNED", "Choice", "in_docker", "node_image"]

_PULL_S = 600.0
"""For 400 MB on a slow line. Without a registry the attempt ends in a moment."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An image of nodes, and why this one."""

    reference: str
    reason: str

    @property
    def kubernetes(self) -> tuple[int, int]:
        """The minor version in it, as its tag says; ours where that says nothing."""
        match = re.search(r":v(\d+)\.(\d+)", self.reference) or re.search(r":v(\d+)\.(\d+)", BUILT)
        assert match is not None
        return int(match[1]), int(match[2])


def node_image(asked: str = "") -> Choice:
    """
    The image to make nodes from.

    asked: what the user named; nothing else is considered then.

    Raises:
        EnvironmentLacks: there is none; says why, and how to build one.

    """
    if asked:
        return _asked(asked)
    if found := in_docker():
        return found
    try:
        docker("pull", "--quiet", PINNED, timeout_s=_PULL_S)
    except (ClusterError, NotInTime) as error:
        why = str(error).strip().splitlines()[-1]
        raise EnvironmentLacks(
            f"there is no node image: {PINNED.partition('@')[0]} cannot be pulled ({why}). "
            "Build one with `meshmark node-image build`, which takes about a quarter of an hour "
            "the first time"
        ) from error
    return Choice(PINNED, "pulled from its registry")


def in_docker() -> Choice | None:
    """The image that Docker has already, if it has one. Raises EnvironmentLacks without Docker."""
    for reference, reason in ((PINNED, "Docker has it"), (BUILT, "built here")):
        if _has(reference):
            return Choice(reference, reason)
    return None


def _asked(reference: str) -> Choice:
    if not _has(reference):
        try:
            docker("pull", "--quiet", reference, timeout_s=_PULL_S)
        except (ClusterError, NotInTime) as error:
            raise EnvironmentLacks(
                f"Docker has no image {reference} and cannot pull it: {error}"
            ) from error
    return Choice(reference, "asked for")


def _has(reference: str) -> bool:
    try:
        docker("image", "inspect", "--format", "{{.Id}}", reference)
    except EnvironmentLacks:
        raise
    except MeshmarkError:
        return False
    return True
