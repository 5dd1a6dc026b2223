"""
Which image the nodes of a cluster are made from.

kind's own, pinned by digest, where Docker has it; else the one that `meshmark node-image build`
made of the sources as they are now; else kind's own, pulled. A node made from either does the same.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from harness.cluster.kind.node_image import freshness
from harness.cluster.kind.node_image.versions import BUILT, PINNED
from harness.cluster.kind.program import docker
from harness.errors import ClusterError, EnvironmentLacks, MeshmarkError, NotInTime

__all__ = ["BUILT", "PINNED", "Choice", "can_be_pulled", "in_docker", "is_outdated", "node_image"]

_PULL_S = 600.0
"""For 400 MB on a slow line. Without a registry the attempt ends in a moment."""

_ASK_S = 30.0


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
        EnvironmentLacks: there is none, or only one that is out of date; says why, and how to build
            one.

    """
    if asked:
        return _asked(asked)
    if found := in_docker():
        return found
    try:
        _pull(PINNED)
    except (ClusterError, NotInTime) as error:
        why = str(error).strip().splitlines()[-1]
        not_pulled = f"{PINNED.partition('@')[0]} cannot be pulled ({why})"
        if is_outdated():
            raise EnvironmentLacks(
                f"{BUILT} is out of date: run `meshmark node-image build`, which builds again what "
                f"has changed; {not_pulled}"
            ) from error
        raise EnvironmentLacks(
            f"there is no node image: {not_pulled}. Build one with `meshmark node-image build`, "
            "which takes about a quarter of an hour the first time"
        ) from error
    return Choice(PINNED, "pulled from its registry")


def in_docker() -> Choice | None:
    """
    The image that Docker has already, if it has one that is not out of date.

    Raises:
        EnvironmentLacks: there is no Docker.

    """
    if _has(PINNED):
        return Choice(PINNED, "Docker has it")
    return Choice(BUILT, "built here") if freshness.is_current(BUILT) else None


def is_outdated() -> bool:
    """Whether Docker has an image that was built here from what has changed since."""
    return _has(BUILT) and not freshness.is_current(BUILT)


def can_be_pulled() -> bool:
    """Whether a registry has kind's own image and can be reached; nothing is pulled."""
    try:
        docker("manifest", "inspect", PINNED, timeout_s=_ASK_S)
    except MeshmarkError:
        return False
    return True


def _pull(reference: str) -> None:
    sys.stderr.write(f"meshmark: pulling {reference.partition('@')[0]}, which may take minutes\n")
    sys.stderr.flush()
    docker("pull", "--quiet", reference, timeout_s=_PULL_S)


def _asked(reference: str) -> Choice:
    if not _has(reference):
        try:
            _pull(reference)
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
