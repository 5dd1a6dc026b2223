"""
Building a node image from Debian packages and Go modules, in stages that are each kept.

A stage made from the same inputs before takes no time, in this run or in a later one. So an
interrupted build goes on where it was, and what did not change is not built again.
"""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.images import archive, archived, cache, debian, layers
from harness.cluster.kind import go, tools
from harness.cluster.kind.go import silent
from harness.cluster.kind.node_image import assembly, compiled, control_plane, root
from harness.cluster.kind.node_image.versions import BUILT
from harness.cluster.kind.program import docker
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster.images import Archive
    from harness.cluster.kind.go import Progress

__all__ = ["STAGES", "Stage", "build", "is_current"]

_LABEL = "dev.meshmark.made-of"
_CLUSTER = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One step of the build.

    minutes: what it takes on two cores with nothing prepared.
    """

    title: str
    minutes: float
    make: Callable[[Progress], object]


def is_current(tag: str = BUILT) -> bool:
    """Whether Docker has the image that a build would make now."""
    return _label(tag) == made_of()


def build(tag: str = BUILT, progress: Progress = silent) -> None:
    """
    Make the image from the stages, and these first where they are missing.

    The `kubectl` among its programs is kept for `tools.find`.

    Raises:
        EnvironmentLacks: a tool, Docker, the network or space is missing; says which.
        ClusterError: something does not compile, or containerd does not start.

    """
    key = made_of()
    kubernetes = compiled.kubernetes()
    programs = {name: kubernetes / name for name in ("kubeadm", "kubectl", "kubelet")}
    programs["crictl"] = compiled.crictl() / "crictl"
    brought = _archives(progress)
    with cache.scratch() as place:
        whole = place / "node.tar"
        root.write(whole, root.debian_base(), root.overlay(programs))
        progress("into Docker")
        assembly.assemble(tag, whole, brought, {_LABEL: key})
    tools.keep("kubectl", programs["kubectl"])


def made_of() -> str:
    """A hash of what decides on the content: files of ours, the mirror, and the machine's kind."""
    mirror = os.environ.get(debian.MIRROR_VARIABLE, "")
    digest = hashlib.sha256(f"{mirror}\0{platform.machine()}".encode())
    for path in _makers():
        digest.update(f"\0{path.relative_to(_CLUSTER)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _makers() -> list[Path]:
    """The files of this package, and of the modules that it makes programs and images with."""
    here = Path(__file__).parent
    ours = (path for path in here.rglob("*") if "__pycache__" not in path.parts)
    others = (Path(str(module.__file__)) for module in (debian, archive, layers, go))
    return sorted(path for path in (*ours, *others) if path.is_file())


def _archives(progress: Progress = silent) -> list[Archive]:
    made = []
    for image in control_plane.images():
        progress(image.reference)
        made.append(archived(image))
    return made


def _label(tag: str) -> str:
    try:
        shape = f'{{{{index .Config.Labels "{_LABEL}"}}}}'
        return docker("image", "inspect", "--format", shape, tag).strip()
    except ClusterError:  # there is none
        return ""


STAGES = (
    Stage("Kubernetes from its Go modules", 9, compiled.kubernetes),
    Stage("etcd from its Go modules", 1, compiled.etcd),
    Stage("CoreDNS from its Go modules", 2, compiled.coredns),
    Stage("crictl and pause", 1, lambda progress: (compiled.crictl(progress), compiled.pause())),
    Stage("the node's base system from Debian packages", 1, root.debian_base),
    Stage("images of the control plane", 0.5, _archives),
)
"""All but the last, which puts them together in Docker."""
