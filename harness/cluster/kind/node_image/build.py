"""
Building a node image from Debian packages and Go modules, in stages that are each kept.

A stage made from the same inputs before takes no time, in this run or in a later one. So an
interrupted build goes on where it was, and what did not change is not built again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.cluster.images import archived, cache
from harness.cluster.kind import tools
from harness.cluster.kind.go import silent
from harness.cluster.kind.node_image import assembly, compiled, control_plane, freshness, root
from harness.cluster.kind.node_image.versions import BUILT

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster.images import Archive
    from harness.cluster.kind.go import Progress

__all__ = ["STAGES", "Stage", "build"]


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One step of the build.

    minutes: what it takes on two cores with nothing prepared.
    """

    title: str
    minutes: float
    make: Callable[[Progress], object]


def build(tag: str = BUILT, progress: Progress = silent) -> None:
    """
    Make the image from the stages, and these first where they are missing.

    The `kubectl` among its programs is kept for `tools.find`.

    Raises:
        EnvironmentLacks: a tool, Docker, the network or space is missing; says which.
        ClusterError: something does not compile, or containerd does not start.

    """
    key = freshness.made_of()
    kubernetes = compiled.kubernetes()
    programs = {name: kubernetes / name for name in ("kubeadm", "kubectl", "kubelet")}
    programs["crictl"] = compiled.crictl() / "crictl"
    brought = _archives(progress)
    with cache.scratch() as place:
        whole = place / "node.tar"
        root.write(whole, root.debian_base(), root.overlay(programs))
        progress("into Docker")
        assembly.assemble(tag, whole, brought, {freshness.LABEL: key})
    tools.keep("kubectl", programs["kubectl"])


def _archives(progress: Progress = silent) -> list[Archive]:
    made = []
    for image in control_plane.images():
        progress(image.reference)
        made.append(archived(image))
    return made


STAGES = (
    Stage("Kubernetes from its Go modules", 9, compiled.kubernetes),
    Stage("etcd from its Go modules", 1, compiled.etcd),
    Stage("CoreDNS from its Go modules", 2, compiled.coredns),
    Stage("crictl and pause", 1, lambda progress: (compiled.crictl(progress), compiled.pause())),
    Stage("the node's base system from Debian packages", 1, root.debian_base),
    Stage("images of the control plane", 0.5, _archives),
)
"""All but the last, which puts them together in Docker."""
