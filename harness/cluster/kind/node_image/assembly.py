"""Putting a node's root file system and the images that it brings along into one Docker image."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from harness.cluster.kind.program import docker
from harness.errors import ClusterError
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.cluster.images import Archive

__all__ = ["assemble"]

_LARGE_S = 600.0
"""For a gigabyte on a slow disk."""

_SETTINGS = (
    'ENTRYPOINT ["/usr/local/sbin/node-entrypoint", "/sbin/init"]',
    "ENV container=docker",
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)
_BASE_SPEC = "ctr oci spec | jq 'del(.process.rlimits)' > /etc/containerd/base-spec.json"
_PARCEL = "/var/tmp/image.tar"  # noqa: S108 - in a container


def assemble(tag: str, root: Path, brought: Sequence[Archive], labels: dict[str, str]) -> None:
    """
    Make the image `tag`, or let it mean this one from now on.

    root: tar of the file system. brought: what containerd knows in there from the start.

    Raises:
        EnvironmentLacks: Docker or space is missing.
        ClusterError: a program in the container failed.
        NotInTime: containerd did not answer in it.

    """
    before = _id(tag)
    imported = docker("import", str(root), timeout_s=_LARGE_S).strip()
    try:
        _bring(imported, tag, brought, labels)
    finally:
        # Docker keeps what something is made from: the new image, or a cluster's nodes. What the
        # tag means is kept by us: the image before this one, where this one did not come about.
        for image in {imported, before} - {_id(tag), ""}:
            with contextlib.suppress(ClusterError):
                docker("rmi", image, timeout_s=_LARGE_S)


def _bring(imported: str, tag: str, brought: Sequence[Archive], labels: dict[str, str]) -> None:
    with _running(imported, "containerd") as container:
        until(
            lambda: docker("exec", container, "ctr", "version"),
            what="containerd answering in the new node image",
            timeout_s=30.0,
        )
        for archive in brought:
            docker("cp", str(archive.path), f"{container}:{_PARCEL}", timeout_s=_LARGE_S)
            # Unpacked it would be twice as large; containerd unpacks on first use.
            into = ["ctr", "--namespace=k8s.io", "images", "import", "--no-unpack", _PARCEL]
            docker("exec", container, *into, timeout_s=_LARGE_S)
        docker("exec", container, "sh", "-c", f"rm {_PARCEL} && {_BASE_SPEC}")
        docker("kill", "--signal", "TERM", container)
        docker("wait", container)
        settings = [*_SETTINGS, *(f'LABEL {key}="{value}"' for key, value in labels.items())]
        changes = [part for setting in settings for part in ("--change", setting)]
        docker("commit", *changes, container, tag, timeout_s=_LARGE_S)


def _id(tag: str) -> str:
    try:
        return docker("image", "inspect", "--format", "{{.Id}}", tag).strip()
    except ClusterError:  # there is none
        return ""


@contextlib.contextmanager
def _running(image: str, program: str) -> Iterator[str]:
    # What is in memory only is not committed: sockets, state of processes.
    options = ["--detach", "--privileged", "--tmpfs", "/run", "--network", "none"]
    # Not for this container: what is committed keeps it, and init shuts down on it.
    options += ["--stop-signal", "SIGRTMIN+3"]
    # A name of ours, since an interrupted `docker run` tells no id.
    container = f"meshmark-node-image-{secrets.token_hex(4)}"
    try:
        docker("run", *options, "--name", container, "--entrypoint", program, image)
        yield container
    finally:
        try:
            docker("rm", "--force", "--volumes", container)
        except ClusterError as error:
            if "No such container" not in str(error):
                raise
