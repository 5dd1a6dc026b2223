"""
Endpoints of a service, and what a client's proxy is told of each.

The rules are those of Linkerd's endpoint translator: a pod that our control plane meshes has an
identity and takes traffic behind a transport header, unless the port bypasses its sidecar.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from reference_mesh.control_plane import identities, opaque, wire
from reference_mesh.proto.gen import destination_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reference_mesh.control_plane.model.pods import Pod
    from reference_mesh.control_plane.model.services import Endpoint, Service, Slice
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader
    from reference_mesh.control_plane.targets import Caller, ServiceTarget

__all__ = [
    "META_PORTS",
    "EndpointSet",
    "carries",
    "compile_endpoints",
    "identity_of",
    "is_meshed",
    "metric_labels",
    "protocol_hint",
    "slice_port",
    "takes_traffic",
    "weighted_address",
    "zone_locality",
]

META_PORTS = frozenset({4190, 4191})
"""Ports of the sidecar itself: tap and admin. They are reached directly."""

_HASH_LABEL = "pod-template-hash"

# How proxies notice that a peer is gone without a word, as Linkerd sets it.
_PING_INTERVAL_S = 10.0
_PING_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """Every endpoint of a target, by address, with the labels that all of them share."""

    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[wire.Address, destination_pb2.WeightedAddr] = field(default_factory=dict)


def compile_endpoints(
    reader: Reader, target: ServiceTarget, caller: Caller, settings: Settings
) -> EndpointSet | wire.Refusal:
    """What `Get` answers for a target."""
    service = reader.service(target.namespace, target.name)
    if service is None:
        return wire.Refusal(
            grpc.StatusCode.NOT_FOUND, f"no service {target.namespace}/{target.name}"
        )
    if service.external_name is not None:
        return wire.Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"service {target.namespace}/{target.name} is an ExternalName",
        )
    zone = _zone(reader, caller)
    found: dict[wire.Address, destination_pb2.WeightedAddr] = {}
    for part in reader.slices(target.namespace, target.name):
        port = slice_port(service, part, target.port)
        if port is None:
            continue
        for endpoint, pod in _serving(reader, part, target.hostname):
            locality = zone_locality(zone, endpoint.zone)
            zones = {"zone": endpoint.zone, "zone_locality": locality}
            for ip in endpoint.addresses:
                if carries(pod, ip):
                    found[ip, port] = _translated(reader, (ip, port), pod, zones, settings)
    return EndpointSet({"namespace": target.namespace, "service": target.name}, found)


def slice_port(service: Service, part: Slice, port: int) -> int | None:
    """
    The endpoints' port for a port of the service; None when the slice does not have it.

    A port that the service does not define is taken for the endpoints' own, as with Linkerd.
    """
    defined = service.port(port)
    if defined is None:
        return port
    return next((number for name, number in part.ports if name == defined.name), None)


def takes_traffic(endpoint: Endpoint) -> bool:
    """Whether new requests may go to an endpoint: ready, and not about to end."""
    return endpoint.ready and not endpoint.terminating


def carries(pod: Pod | None, ip: str) -> bool:
    """Whether an address is still the pod's: a slice may lag behind, and addresses are reused."""
    return pod is None or (ip in pod.ips and not pod.finished and not pod.terminating)


def is_meshed(pod: Pod, port: int) -> bool:
    """Whether a sidecar answers on a pod's port."""
    return pod.control_plane is not None and port not in pod.skipped_ports


def identity_of(pod: Pod, settings: Settings) -> str | None:
    """Identity of a pod that our control plane meshes; another one's we cannot vouch for."""
    if pod.control_plane != settings.namespace:
        return None
    return identities.account_identity(
        pod.service_account,
        pod.namespace,
        mesh=settings.namespace,
        trust_domain=settings.trust_domain,
    )


def protocol_hint(
    pod: Pod, port: int, *, is_opaque: bool, settings: Settings
) -> destination_pb2.ProtocolHint:
    """What a meshed pod's sidecar understands on a port."""
    hint = destination_pb2.ProtocolHint()
    if is_opaque:
        hint.opaque.SetInParent()
    elif settings.h2_upgrade:
        hint.h2.SetInParent()
    if (settings.transport_header or is_opaque) and port not in META_PORTS:
        hint.opaque_transport.inbound_port = pod.proxy_inbound_port or settings.inbound_port
    return hint


def weighted_address(
    reader: Reader, where: wire.Address, pod: Pod, settings: Settings
) -> destination_pb2.WeightedAddr:
    """What a proxy is told of one port of a pod."""
    made = destination_pb2.WeightedAddr(
        addr=wire.address(where),
        weight=wire.ADDRESS_WEIGHT,
        metric_labels=metric_labels(pod),
        resource_ref=wire.resource_metadata(
            group="core", kind="Pod", name=pod.name, namespace=pod.namespace
        ),
    )
    if not is_meshed(pod, where[1]):
        return made
    identity = identity_of(pod, settings)
    if identity is not None:
        made.tls_identity.dns_like_identity.name = identity
        made.tls_identity.server_name.name = identity
    is_opaque = opaque.pod_port(reader, pod, where[1], settings)
    made.protocol_hint.CopyFrom(
        protocol_hint(pod, where[1], is_opaque=is_opaque, settings=settings)
    )
    pings = made.http2.keep_alive
    pings.interval.CopyFrom(wire.duration(_PING_INTERVAL_S))
    pings.timeout.CopyFrom(wire.duration(_PING_TIMEOUT_S))
    pings.while_idle = True
    return made


def metric_labels(pod: Pod) -> dict[str, str]:
    """Labels of a pod in its clients' metrics."""
    found = {"pod": pod.name, "serviceaccount": pod.service_account}
    if pod.owner is not None:
        found[pod.owner[0]] = pod.owner[1]
    if pod.control_plane is not None:
        found["control_plane_ns"] = pod.control_plane
    if _HASH_LABEL in pod.labels:
        found["pod_template_hash"] = pod.labels[_HASH_LABEL]
    return found


def zone_locality(caller: str, endpoint: str) -> str:
    """Whether an endpoint is in its client's zone."""
    if not caller or not endpoint:
        return "unknown"
    return "local" if caller == endpoint else "remote"


def _serving(
    reader: Reader, part: Slice, hostname: str | None
) -> Iterator[tuple[Endpoint, Pod | None]]:
    for endpoint in part.endpoints:
        if not takes_traffic(endpoint) or hostname not in {None, endpoint.hostname}:
            continue
        pod = reader.pod(part.namespace, endpoint.pod) if endpoint.pod else None
        # A pod that is not known yet might be meshed: without it, traffic would go in plain text.
        if pod is not None or endpoint.pod is None:
            yield endpoint, pod


def _translated(
    reader: Reader,
    where: wire.Address,
    pod: Pod | None,
    zone_labels: Mapping[str, str],
    settings: Settings,
) -> destination_pb2.WeightedAddr:
    if pod is None:
        made = destination_pb2.WeightedAddr(addr=wire.address(where), weight=wire.ADDRESS_WEIGHT)
    else:
        made = weighted_address(reader, where, pod, settings)
    made.metric_labels.update(zone_labels)
    return made


def _zone(reader: Reader, caller: Caller) -> str:
    node = reader.node(caller.node) if caller.node else None
    return node.zone if node is not None else ""
