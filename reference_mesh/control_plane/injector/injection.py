"""
Whether a pod gets a sidecar, and the JSON patch that gives it one.

Pure: the same pod, namespace, values and trust anchors always give the same patch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from reference_mesh.control_plane import ports
from reference_mesh.control_plane.injector import containers, environment, overriding, unheeded
from reference_mesh.control_plane.injector.environment import TrustAnchors
from reference_mesh.control_plane.injector.patch import Patch
from reference_mesh.control_plane.injector.skipping import reason_to_skip
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference_mesh.control_plane.injector.containers import Sidecar
    from reference_mesh.manifests.values import Values

__all__ = ["Injection", "add_sidecar", "inject", "inject_service"]

_GRACE_S = 30
"""Kubernetes' default for the time that a pod has to end."""


@dataclass(frozen=True, slots=True)
class Injection:
    """
    The outcome for one object.

    patch: JSON patch operations, empty when nothing changes.
    skipped: why there is no sidecar, one of `skipping.REASONS`; None when there is.
    warnings: what the user should hear; never a reason to refuse.
    """

    patch: tuple[dict[str, Any], ...] = ()
    skipped: str | None = None
    warnings: tuple[str, ...] = ()


def inject(
    pod: Mapping[str, Any],
    namespace: Mapping[str, Any],
    values: Values,
    *,
    trust_anchors_pem: str,
    control_plane_ns: str = names.DEFAULT_NAMESPACE,
    created_by: str = f"refmesh/proxy-injector {names.VERSION}",
    owner_kind: str | None = None,
    owner_name: str | None = None,
) -> Injection:
    """
    Decide for a pod (or a pod template) in a namespace object, and make its patch.

    owner_kind, owner_name: the workload, where the caller knows it better than the pod does.

    Raises:
        InvalidInput: a configuration annotation has a value that cannot be used.

    """
    ours = _annotations(pod)
    theirs = _annotations(namespace)
    skipped = reason_to_skip(pod, theirs, values)
    if skipped is not None:
        return Injection(patch=_inherited_only(pod, theirs), skipped=skipped)
    chosen = overriding.effective(theirs, ours)
    values = overriding.for_pod(values, chosen)
    injected = ours.get(names.INJECT, theirs.get(names.INJECT))
    if injected == "ingress":
        proxy = msgspec.structs.replace(values.proxy, is_ingress=True)
        values = msgspec.structs.replace(values, proxy=proxy)
    inbound_ports = _inbound_ports(pod, chosen)
    added = {key: value for key, value in chosen.items() if ours.get(key) != value}
    added.update(_default_opaque_ports(chosen, values, ports.parse(inbound_ports)))
    added[names.CREATED_BY] = created_by
    added[names.PROXY_VERSION] = values.proxy.image.version
    added[names.TRUST_ROOT_SHA256] = hashlib.sha256(trust_anchors_pem.encode()).hexdigest()
    kind, name = (owner_kind, owner_name) if owner_kind else _owner(pod)
    labels = {names.CONTROL_PLANE_NS: control_plane_ns}
    if kind and name:
        labels[names.proxy_owner_label(kind)] = name
    workload_ns = pod.get("metadata", {}).get("namespace") or _name(namespace)
    if workload_ns:
        labels[names.WORKLOAD_NS] = workload_ns
    sidecar = containers.sidecar(
        values,
        control_plane_ns=control_plane_ns,
        addresses=environment.cluster(values, control_plane_ns),
        anchors=TrustAnchors(trust_anchors_pem),
        inbound_ports=inbound_ports,
    )
    patch = add_sidecar(pod, sidecar, labels=labels, annotations=added)
    warnings = [*unheeded.of_annotations(chosen), *_udp_warnings(pod)]
    return Injection(patch=tuple(patch), warnings=tuple(warnings))


def inject_service(
    service: Mapping[str, Any], namespace: Mapping[str, Any], values: Values
) -> Injection:
    """
    Give a service the opaque ports of its namespace, else the default ones that it serves.

    Raises:
        InvalidInput: the opaque-ports annotation is not a list of ports.

    """
    ours = _annotations(service)
    if names.OPAQUE_PORTS in ours:
        overriding.ports(names.OPAQUE_PORTS, ours[names.OPAQUE_PORTS])
        return Injection()
    theirs = _annotations(namespace)
    inherited = theirs.get(names.OPAQUE_PORTS)
    if inherited is None:
        served = {
            port
            for item in service.get("spec", {}).get("ports") or ()
            for port in (item.get("port"), item.get("targetPort"))
        }
        inherited = ",".join(
            text for text in values.proxy.opaque_ports.split(",") if _number(text) in served
        )
        if not inherited:
            return Injection()
    inherited = overriding.ports(names.OPAQUE_PORTS, inherited)
    patch = Patch(service)
    patch.annotate({names.OPAQUE_PORTS: inherited})
    return Injection(patch=tuple(patch.operations))


def add_sidecar(
    pod: Mapping[str, Any],
    sidecar: Sidecar,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> list[dict[str, Any]]:
    """
    Operations that put a sidecar into a pod.

    A native one comes before the application's own init containers, which then have the mesh.
    Without native sidecars those run before the redirect is set, for they could reach nothing
    through a proxy that is not up yet.
    """
    proxy = _within_grace(sidecar.proxy, pod)
    patch = Patch(pod)
    patch.annotate(annotations)
    patch.label(labels)
    for volume in sidecar.volumes:
        patch.append("volumes", volume)
    if sidecar.native:
        patch.prepend("initContainers", proxy)
        patch.prepend("initContainers", sidecar.init)
    else:
        patch.append("initContainers", sidecar.init)
        patch.prepend("containers", proxy)
    return patch.operations


def _within_grace(proxy: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, Any]:
    """The container, with a wait before its exit that the API accepts: none, or within grace."""
    wait = proxy.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = pod.get("spec", {}).get("terminationGracePeriodSeconds", _GRACE_S)
    rest = {key: value for key, value in proxy.items() if key != "lifecycle"}
    seconds = min(wait, grace)
    return {**rest, "lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}} if seconds else rest


def _inherited_only(
    pod: Mapping[str, Any], namespace_annotations: Mapping[str, str]
) -> tuple[dict[str, Any], ...]:
    """Opaque ports concern clients in the mesh even when the pod itself is outside."""
    inherited = namespace_annotations.get(names.OPAQUE_PORTS)
    if inherited is None or names.OPAQUE_PORTS in _annotations(pod):
        return ()
    patch = Patch(pod)
    patch.annotate({names.OPAQUE_PORTS: overriding.ports(names.OPAQUE_PORTS, inherited)})
    return tuple(patch.operations)


def _default_opaque_ports(
    chosen: Mapping[str, str], values: Values, inbound: ports.PortSet
) -> dict[str, str]:
    if names.OPAQUE_PORTS in chosen:
        return {}
    defaults = values.proxy.opaque_ports.split(",")
    used = ",".join(text for text in defaults if _number(text) in inbound)
    return {names.OPAQUE_PORTS: used} if used else {}


def _inbound_ports(pod: Mapping[str, Any], chosen: Mapping[str, str]) -> str:
    """
    TCP ports that the pod declares, ascending, or those of `pod-inbound-ports`.

    A range stays one: all ports, each by its number, are more than Linux lets a variable hold.
    """
    given = chosen.get(overriding.POD_INBOUND_PORTS)
    if given is not None:
        return overriding.ports(overriding.POD_INBOUND_PORTS, given)
    found = {
        port["containerPort"]
        for container in _containers(pod)
        for port in container.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP" and "containerPort" in port
    }
    return ",".join(str(port) for port in sorted(found))


def _udp_warnings(pod: Mapping[str, Any]) -> list[str]:
    return [
        f"container {container.get('name')}: UDP port {port.get('containerPort')} bypasses the mesh"
        for container in _containers(pod)
        for port in container.get("ports") or ()
        if port.get("protocol") == "UDP"
    ]


def _owner(pod: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The workload that owns a pod; a ReplicaSet made by a Deployment stands for that one."""
    metadata = pod.get("metadata", {})
    for reference in metadata.get("ownerReferences") or ():
        if not reference.get("controller", True):
            continue
        kind, name = reference.get("kind"), reference.get("name", "")
        pod_hash = (metadata.get("labels") or {}).get("pod-template-hash")
        if kind == "ReplicaSet" and pod_hash and name.endswith(f"-{pod_hash}"):
            return "Deployment", name.removesuffix(f"-{pod_hash}")
        return kind, name
    return None, None


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = pod.get("spec", {})
    natives = [
        container
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    ]
    return [*natives, *(spec.get("containers") or ())]


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    return document.get("metadata", {}).get("annotations") or {}


def _name(namespace: Mapping[str, Any]) -> str:
    return str(namespace.get("metadata", {}).get("name", ""))


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0
