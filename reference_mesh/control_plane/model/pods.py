"""Facts of pods, nodes and namespaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reference_mesh.control_plane import ports
from reference_mesh.control_plane.model import annotated
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Namespace", "Node", "Pod", "namespace_of", "node_of", "pod_of"]

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HASH_LABEL = "pod-template-hash"
_ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """What a namespace sets for its pods and services."""

    name: str
    opaque_ports: ports.PortSet | None = None
    default_policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Where a node stands."""

    name: str
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod as its clients and its own proxy need it."""

    namespace: str
    name: str
    ips: tuple[str, ...] = ()
    node: str = ""
    service_account: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: tuple[str, str] | None = None
    """Kind (lower case) and name of the workload that made it: `("deployment", "web")`."""

    ready: bool = False
    terminating: bool = False
    finished: bool = False
    host_network: bool = False
    proxy_inbound_port: int | None = None
    """Port on which its sidecar takes meshed traffic; None without a sidecar."""

    opaque_ports: ports.PortSet | None = None
    skipped_ports: ports.PortSet = ports.NONE
    """Inbound ports that bypass the sidecar."""

    default_policy: str | None = None
    identified_ports: ports.PortSet = ports.NONE
    """Ports that take clients with an identity only, where no Server decides."""

    port_names: Mapping[str, frozenset[int]] = field(default_factory=dict)
    probes: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Port to the paths that the kubelet asks there over HTTP."""

    @property
    def control_plane(self) -> str | None:
        """Namespace of the control plane that meshes this pod; None when it is not meshed."""
        return self.labels.get(names.CONTROL_PLANE_NS)


def namespace_of(document: dict[str, Any]) -> Namespace:
    """Facts of a Namespace object."""
    name = document["metadata"]["name"]
    noted = document["metadata"].get("annotations") or {}
    where = f"namespace/{name}"
    return Namespace(
        name=name,
        opaque_ports=annotated.port_set(noted, names.OPAQUE_PORTS, where=where),
        default_policy=annotated.default_policy(noted, where=where),
    )


def node_of(document: dict[str, Any]) -> Node:
    """Facts of a Node object."""
    metadata = document["metadata"]
    return Node(name=metadata["name"], zone=(metadata.get("labels") or {}).get(_ZONE_LABEL, ""))


def pod_of(document: dict[str, Any]) -> Pod:
    """Facts of a Pod object."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    status = document.get("status") or {}
    noted = metadata.get("annotations") or {}
    where = f"pod/{metadata['namespace']}/{metadata['name']}"
    identified = annotated.port_set(noted, annotated.REQUIRE_IDENTITY_PORTS, where=where)
    skipped = annotated.port_set(noted, annotated.SKIP_INBOUND_PORTS, where=where)
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        ips=_ips(status),
        node=spec.get("nodeName") or "",
        service_account=spec.get("serviceAccountName") or "default",
        labels=metadata.get("labels") or {},
        owner=_owner(metadata),
        ready=_is_ready(status),
        terminating=bool(metadata.get("deletionTimestamp")),
        finished=status.get("phase") in {"Succeeded", "Failed"},
        host_network=bool(spec.get("hostNetwork")),
        proxy_inbound_port=_proxy_inbound_port(containers),
        opaque_ports=annotated.port_set(noted, names.OPAQUE_PORTS, where=where),
        skipped_ports=skipped or ports.NONE,
        default_policy=annotated.default_policy(noted, where=where),
        identified_ports=identified or ports.NONE,
        port_names=_port_names(containers),
        probes=_probes(containers),
    )


def _ips(status: dict[str, Any]) -> tuple[str, ...]:
    several = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
    return tuple(several or ([status["podIP"]] if status.get("podIP") else []))


def _is_ready(status: dict[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _owner(metadata: dict[str, Any]) -> tuple[str, str] | None:
    owners = [o for o in metadata.get("ownerReferences") or () if o.get("controller")]
    if not owners:
        return None
    kind, name = owners[0]["kind"].lower(), owners[0]["name"]
    template = (metadata.get("labels") or {}).get(_HASH_LABEL)
    if kind == "replicaset" and template and name.endswith(f"-{template}"):
        # A Deployment names its ReplicaSets so; reading them would be one more kind to follow.
        return "deployment", name.removesuffix(f"-{template}")
    return kind, name


def _proxy_inbound_port(containers: list[dict[str, Any]]) -> int | None:
    for container in containers:
        if container.get("name") == names.PROXY_CONTAINER:
            for variable in container.get("env") or ():
                if variable.get("name") == "LINKERD2_PROXY_INBOUND_LISTEN_ADDR":
                    port = str(variable.get("value", "")).rpartition(":")[2]
                    return int(port) if port.isdigit() else None
    return None


def _tcp_ports(container: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for port in container.get("ports") or ():
        if port.get("name") and (port.get("protocol") or "TCP") == "TCP":
            yield port["name"], port["containerPort"]


def _port_names(containers: list[dict[str, Any]]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for container in containers:
        for name, port in _tcp_ports(container):
            found[name] = found.get(name, frozenset()) | {port}
    return found


def _probes(containers: list[dict[str, Any]]) -> dict[int, frozenset[str]]:
    found: dict[int, frozenset[str]] = {}
    for container in containers:
        by_name = dict(_tcp_ports(container))
        for kind in _PROBES:
            request = (container.get(kind) or {}).get("httpGet")
            if not request:
                continue
            port = request.get("port")
            number = by_name.get(port) if isinstance(port, str) else port
            if number:
                path = urlsplit(request.get("path") or "/").path or "/"
                found[number] = found.get(number, frozenset()) | {path}
    return found
