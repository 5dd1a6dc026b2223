"""Small messages that many answers are made of."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import duration_pb2

from reference_mesh.proto.gen import meta_pb2, net_pb2

if TYPE_CHECKING:
    import grpc

    from reference_mesh.control_plane.model.services import Service

__all__ = [
    "ADDRESS_WEIGHT",
    "Address",
    "Refusal",
    "address",
    "default_metadata",
    "duration",
    "ip_address",
    "ip_text",
    "network",
    "parse_ip",
    "resource_metadata",
    "service_metadata",
]

ADDRESS_WEIGHT = 10_000
"""Weight of every endpoint, as Linkerd sends it; proxies that balance by load ignore it."""

Address = tuple[str, int]
"""IP address in its usual text form, and port."""

_LOW_64_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is a gRPC status."""

    code: grpc.StatusCode
    why: str


def ip_address(text: str) -> net_pb2.IPAddress:
    """An IP address as a message."""
    parsed = ipaddress.ip_address(text)
    if parsed.version == 4:
        return net_pb2.IPAddress(ipv4=int(parsed))
    number = int(parsed)
    return net_pb2.IPAddress(ipv6=net_pb2.IPv6(first=number >> 64, last=number & _LOW_64_BITS))


def ip_text(message: net_pb2.IPAddress) -> str:
    """
    An IP address as text.

    Raises:
        ValueError: the message holds none.

    """
    match message.WhichOneof("ip"):
        case "ipv4":
            return str(ipaddress.IPv4Address(message.ipv4))
        case "ipv6":
            return str(ipaddress.IPv6Address((message.ipv6.first << 64) | message.ipv6.last))
    raise ValueError("the address is empty")


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address, to be compared with networks."""
    return ipaddress.ip_address(text)


def network(net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> net_pb2.IPNetwork:
    """A network as a message."""
    return net_pb2.IPNetwork(ip=ip_address(str(net.network_address)), prefix_len=net.prefixlen)


def address(where: Address) -> net_pb2.TcpAddress:
    """An address and port as a message."""
    return net_pb2.TcpAddress(ip=ip_address(where[0]), port=where[1])


def duration(seconds: float) -> duration_pb2.Duration:
    """A duration as a message, to the millisecond."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return duration_pb2.Duration(seconds=whole, nanos=milliseconds * 1_000_000)


def default_metadata(name: str) -> meta_pb2.Metadata:
    """What stands for an object where there is none: a default, by its name."""
    return meta_pb2.Metadata(default=name)


def resource_metadata(
    *, group: str, kind: str, name: str, namespace: str = "", port: int = 0, section: str = ""
) -> meta_pb2.Metadata:
    """The object that something was made from. Outbound, no field of the first four is empty."""
    resource = meta_pb2.Resource(
        group=group, kind=kind, name=name, namespace=namespace, port=port, section=section
    )
    return meta_pb2.Metadata(resource=resource)


def service_metadata(service: Service, port: int) -> meta_pb2.Metadata:
    """A port of a Service. Linkerd writes its empty API group as `core`."""
    return resource_metadata(
        group="core", kind="Service", name=service.name, namespace=service.namespace, port=port
    )
