"""
Outbound policy: how a client's proxy carries what it sends to one target.

Every message here keeps to what a real proxy insists on: metadata everywhere, all four arms of a
detection, and a queue, a discovery and a load for each backend. A proxy that misses one of them
answers each request with 500.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from reference_mesh.control_plane import opaque, wire
from reference_mesh.control_plane.policy import protocols
from reference_mesh.proto.gen import destination_pb2, outbound_pb2

if TYPE_CHECKING:
    from reference_mesh.control_plane.model.services import Service
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader
    from reference_mesh.control_plane.targets import ServiceTarget

__all__ = [
    "address_policy",
    "app_kind",
    "balancer",
    "forward",
    "in_cluster",
    "policy_at",
    "policy_of",
    "service_policy",
    "undefined_port",
]

_APP_KINDS = {
    "http": "http1",
    "kubernetes.io/h2c": "http2",
    "linkerd.io/opaque": "opaque",
    "linkerd.io/tcp": "opaque",
}
"""What `appProtocol` of a service's port says; any other value leaves detection on."""

_QUEUE_CAPACITY = 100
_FAILFAST_S = 3.0
_EWMA_DEFAULT_RTT_S = 0.030
_EWMA_DECAY_S = 10.0
_FALLBACK = "egress-fallback"


def policy_at(reader: Reader, where: wire.Address, settings: Settings) -> bytes | wire.Refusal:
    """
    What `Watch` answers for an address.

    Nothing for a pod's own, as Linkerd's controller: who is there now only its profile tells, which
    the client follows. A policy would be kept when the address has become another pod's.
    """
    service = reader.service_at(where[0])
    if service is not None:
        return _encoded(service_policy(reader, service, where[1], settings))
    if in_cluster(where[0], settings) or reader.pod_at(where[0]) is not None:
        return wire.Refusal(grpc.StatusCode.NOT_FOUND, f"no service at {where[0]}")
    told = destination_pb2.WeightedAddr(addr=wire.address(where), weight=1)
    return _encoded(address_policy(_FALLBACK, told))


def policy_of(reader: Reader, target: ServiceTarget, settings: Settings) -> bytes | wire.Refusal:
    """What `Watch` answers for a service's name."""
    service = reader.service(target.namespace, target.name)
    if service is None:
        return wire.Refusal(
            grpc.StatusCode.NOT_FOUND, f"no service {target.namespace}/{target.name}"
        )
    return _encoded(service_policy(reader, service, target.port, settings))


def service_policy(
    reader: Reader, service: Service, port: int, settings: Settings
) -> outbound_pb2.OutboundPolicy:
    """Policy for a port of a service."""
    defined = service.port(port)
    if defined is None:
        return undefined_port(service, port)
    kind = app_kind(defined.app_protocol)
    if opaque.service_port(reader, service, port, settings):
        kind = "opaque"
    metadata = wire.service_metadata(service, port)
    backend = balancer(service, port, settings)
    return outbound_pb2.OutboundPolicy(
        metadata=metadata,
        protocol=protocols.protocol(
            kind,
            opaque=protocols.opaque_route(wire.default_metadata("opaq"), backend),
            http=protocols.http_route(wire.default_metadata("http"), backend),
        ),
    )


def app_kind(app_protocol: str | None) -> str:
    """Kind of protocol that a port's `appProtocol` names."""
    return _APP_KINDS.get(app_protocol or "", "detect")


def in_cluster(ip: str, settings: Settings) -> bool:
    """Whether an address belongs to the cluster's networks."""
    parsed = wire.parse_ip(ip)
    return any(parsed in network for network in settings.cluster_networks)


def balancer(service: Service, port: int, settings: Settings) -> outbound_pb2.Backend:
    """The endpoints of a service, the least loaded of two preferred."""
    path = f"{service.name}.{service.namespace}.svc.{settings.cluster_domain}:{port}"
    backend = outbound_pb2.Backend(metadata=wire.service_metadata(service, port), queue=_queue())
    backend.balancer.discovery.dst.path = path
    backend.balancer.peak_ewma.default_rtt.CopyFrom(wire.duration(_EWMA_DEFAULT_RTT_S))
    backend.balancer.peak_ewma.decay.CopyFrom(wire.duration(_EWMA_DECAY_S))
    return backend


def forward(name: str, told: destination_pb2.WeightedAddr) -> outbound_pb2.Backend:
    """One address and no other."""
    return outbound_pb2.Backend(metadata=wire.default_metadata(name), queue=_queue(), forward=told)


def address_policy(name: str, told: destination_pb2.WeightedAddr) -> outbound_pb2.OutboundPolicy:
    """Policy for an address outside of the cluster."""
    metadata = wire.default_metadata(name)
    backend = forward(name, told)
    return outbound_pb2.OutboundPolicy(
        metadata=metadata,
        protocol=protocols.protocol(
            "detect",
            opaque=protocols.opaque_route(metadata, backend),
            http=protocols.http_route(metadata, backend),
        ),
    )


def undefined_port(service: Service, port: int) -> outbound_pb2.OutboundPolicy:
    """Policy for a port that a service does not define: connections are refused."""
    route = outbound_pb2.OpaqueRoute(metadata=wire.default_metadata("undefined-port"))
    rule = route.rules.add()
    rule.backends.empty.SetInParent()
    rule.filters.add().forbidden.SetInParent()
    return outbound_pb2.OutboundPolicy(
        metadata=wire.service_metadata(service, port),
        protocol=outbound_pb2.ProxyProtocol(
            opaque=outbound_pb2.ProxyProtocol.Opaque(routes=[route])
        ),
    )


def _queue() -> outbound_pb2.Queue:
    return outbound_pb2.Queue(capacity=_QUEUE_CAPACITY, failfast_timeout=wire.duration(_FAILFAST_S))


def _encoded(policy: outbound_pb2.OutboundPolicy) -> bytes:
    return policy.SerializeToString(deterministic=True)
