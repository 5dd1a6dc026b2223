"""The protocol part of an outbound policy, with one default route to one backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane import wire
from reference_mesh.proto.gen import outbound_pb2

if TYPE_CHECKING:
    from reference_mesh.proto.gen import meta_pb2

__all__ = ["DETECT_S", "http_route", "opaque_route", "protocol"]

DETECT_S = 10.0
"""How long a client may be silent before its connection is taken for opaque."""


def protocol(
    kind: str, *, opaque: outbound_pb2.OpaqueRoute, http: outbound_pb2.HttpRoute
) -> outbound_pb2.ProxyProtocol:
    """
    A protocol of this kind: `opaque`, `http1`, `http2`, or else detection.

    A detection carries the routes of every outcome.
    """
    as_opaque = outbound_pb2.ProxyProtocol.Opaque(routes=[opaque])
    as_http1 = outbound_pb2.ProxyProtocol.Http1(routes=[http])
    as_http2 = outbound_pb2.ProxyProtocol.Http2(routes=[http])
    match kind:
        case "opaque":
            return outbound_pb2.ProxyProtocol(opaque=as_opaque)
        case "http1":
            return outbound_pb2.ProxyProtocol(http1=as_http1)
        case "http2":
            return outbound_pb2.ProxyProtocol(http2=as_http2)
    return outbound_pb2.ProxyProtocol(
        detect=outbound_pb2.ProxyProtocol.Detect(
            timeout=wire.duration(DETECT_S), opaque=as_opaque, http1=as_http1, http2=as_http2
        )
    )


def http_route(
    metadata: meta_pb2.Metadata, backend: outbound_pb2.Backend
) -> outbound_pb2.HttpRoute:
    """A route for every request."""
    route = outbound_pb2.HttpRoute(metadata=metadata)
    rule = route.rules.add()
    rule.matches.add().path.prefix = "/"
    rule.backends.first_available.backends.add().backend.CopyFrom(backend)
    return route


def opaque_route(
    metadata: meta_pb2.Metadata, backend: outbound_pb2.Backend
) -> outbound_pb2.OpaqueRoute:
    """A route for every connection."""
    route = outbound_pb2.OpaqueRoute(metadata=metadata)
    route.rules.add().backends.first_available.backends.add().backend.CopyFrom(backend)
    return route
