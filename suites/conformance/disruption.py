"""Events that a mesh must get over: rollouts, outages, upgrades, anchors. Each is undone here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from harness.mesh import resources
from harness.mesh.protocol import Root
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from harness.mesh.protocol import MeshOptions
    from suites.lab import Lab
    from suites.member import Member

__all__ = [
    "LINGER",
    "control_plane_down",
    "issuer_down",
    "other_build",
    "restart_control_plane",
    "roll",
    "scale",
    "second_anchor",
    "until_gone",
    "upgrade",
]

LINGER = ("--linger", "2s")
"""A server goes on accepting until its peers have heard that it goes, as a preStop pause does."""

_GONE_S = 60.0
_AVAILABLE_S = 90.0


def control_plane_down(lab: Lab) -> AbstractContextManager[None]:
    """No pod of the control plane runs within the block; all are back when it has ended."""
    return _down(lab, lab.mesh.control_plane())


def issuer_down(lab: Lab) -> AbstractContextManager[None]:
    """Nothing issues certificates within the block; what did is back when it has ended."""
    issuer = lab.mesh.issuer()
    return _down(lab, {issuer.namespace: [issuer.deployment]})


@contextlib.contextmanager
def _down(lab: Lab, deployments: Mapping[str, Sequence[str]]) -> Iterator[None]:
    client = lab.cluster.client()
    wanted: dict[tuple[str, str], int] = {}
    try:
        for namespace, names in deployments.items():
            for name in names:
                lab.logbook.follow(lab.cluster, namespace, _pods(lab, namespace, name))
                wanted[namespace, name] = resources.scale(client, namespace, name, 0)
        for namespace, name in wanted:
            _until_gone(lab, namespace, name)
        yield
    finally:
        for (namespace, name), replicas in wanted.items():
            resources.scale(client, namespace, name, replicas)
        for namespace, names in deployments.items():
            resources.deployments_available(lab.cluster, namespace, names, timeout_s=_AVAILABLE_S)
        lab.mesh.until_running(lab.cluster, lab.options)


def restart_control_plane(lab: Lab) -> None:
    """Replace every pod of the control plane, and return when only the new ones are left."""
    client = lab.cluster.client()
    with _control_plane_replaced(lab):
        for namespace, names in lab.mesh.control_plane().items():
            for name in names:
                resources.restart(client, namespace, name)
            resources.deployments_available(lab.cluster, namespace, names, timeout_s=_AVAILABLE_S)
    # Not earlier: the old injector answers until it is gone.
    lab.mesh.until_running(lab.cluster, lab.options)


def upgrade(lab: Lab, options: MeshOptions) -> None:
    """Put another build of the mesh in; returns when the control plane is that build's alone."""
    with _control_plane_replaced(lab):
        lab.mesh.upgrade(lab.cluster, options)
    lab.mesh.until_running(lab.cluster, options)  # as above


@contextlib.contextmanager
def other_build(lab: Lab, options: MeshOptions) -> Iterator[None]:
    """Another build of the mesh is in within the block; the lab's own is back when it has ended."""
    try:
        upgrade(lab, options)
        yield
    finally:
        upgrade(lab, lab.options)


@contextlib.contextmanager
def second_anchor(lab: Lab) -> Iterator[None]:
    """Pods that start within the block trust `Root.SECOND`, too; later ones do not."""
    try:
        _trust(lab, Root.MESH, Root.SECOND)
        yield
    finally:
        _trust(lab, Root.MESH)


def _trust(lab: Lab, *roots: Root) -> None:
    with _control_plane_replaced(lab):
        lab.mesh.trust(lab.cluster, lab.options, roots)
    lab.mesh.until_running(lab.cluster, lab.options)  # as above


@contextlib.contextmanager
def _control_plane_replaced(lab: Lab) -> Iterator[None]:
    """
    The block replaces pods of the control plane, all or some; those are gone after it.

    It must have waited until the others are there.
    """
    deployments = [
        (namespace, name) for namespace, names in lab.mesh.control_plane().items() for name in names
    ]
    for namespace, name in deployments:
        lab.logbook.follow(lab.cluster, namespace, _pods(lab, namespace, name))
    yield
    for namespace, name in deployments:
        _until_gone(lab, namespace, name, _pods(lab, namespace, name, ending=True))


def roll(member: Member) -> set[str]:
    """Replace every pod of a member that is a deployment; returns the names of the new ones."""
    space = member.space
    before = set(member.pod_names())
    space.lab.logbook.follow(space.lab.cluster, space.name, before)
    resources.restart(space.lab.cluster.client(), space.name, member.role.name)
    resources.deployments_available(
        space.lab.cluster, space.name, [member.role.name], timeout_s=_AVAILABLE_S
    )
    _until_gone(space.lab, space.name, member.role.name, before)
    return set(member.pod_names())


def scale(member: Member, replicas: int) -> set[str]:
    """Bring a member that is a deployment to so many pods; returns their names."""
    space = member.space
    before = set(member.pod_names())
    if replicas < len(before):
        space.lab.logbook.follow(space.lab.cluster, space.name, before)
    resources.scale(space.lab.cluster.client(), space.name, member.role.name, replicas)
    resources.deployments_available(
        space.lab.cluster, space.name, [member.role.name], timeout_s=_AVAILABLE_S
    )
    after = set(member.pod_names())
    _until_gone(space.lab, space.name, member.role.name, before - after)
    return after


def until_gone(member: Member) -> None:
    """Wait until a member that is a deployment has no pod, not even one that is going away."""
    _until_gone(member.space.lab, member.space.name, member.role.name)


def _until_gone(lab: Lab, namespace: str, name: str, pods: set[str] | None = None) -> None:
    """Wait until the named pods of a deployment are gone, or all that it has."""
    until(
        lambda: _pods(lab, namespace, name),
        what=f"old pods of {namespace}/{name} gone",
        holds=lambda left: not (left if pods is None else left & pods),
        timeout_s=_GONE_S,
        hint=f"Look at what ends so late: kubectl -n {namespace} get pods",
    )


def _pods(lab: Lab, namespace: str, name: str, *, ending: bool = False) -> set[str]:
    """The pods of a deployment, those included that are going away, or only those."""
    client = lab.cluster.client()
    deployment = client.get(Deployment, name, namespace=namespace)
    assert deployment.spec is not None
    labels = deployment.spec.selector.matchLabels or {}
    found = client.list(Pod, namespace=namespace, labels=dict(labels))
    return {
        pod.metadata.name or ""
        for pod in found
        if pod.metadata and (pod.metadata.deletionTimestamp or not ending)
    }
