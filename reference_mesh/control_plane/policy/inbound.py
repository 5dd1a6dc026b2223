"""
Inbound policy: what the proxy of a pod lets in on one port.

Linkerd's rules: the oldest Server of the port decides; without one, the default policy of pod,
namespace or installation does. The kubelet's own probes are let in wherever no route of the
user's says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from reference_mesh.control_plane import opaque, wire
from reference_mesh.control_plane.policy import authorizations, servers
from reference_mesh.proto.gen import http_route_pb2, http_types_pb2, inbound_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.control_plane.model.pods import Pod
    from reference_mesh.control_plane.model.policies import Server
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader

__all__ = [
    "DETECT_S",
    "compile_port",
    "default_policy",
    "default_routes",
    "port_default_policy",
    "protocol",
    "server_labels",
]

_IDENTIFIED = {
    "all-unauthenticated": "all-authenticated",
    "audit": "all-authenticated",
    "cluster-unauthenticated": "cluster-authenticated",
}
"""What becomes of a default policy on a port that demands an identity."""

DETECT_S = 10.0
"""How long a client may be silent before its connection is taken for opaque."""


def compile_port(
    reader: Reader, namespace: str, name: str, port: int, settings: Settings
) -> bytes | wire.Refusal:
    """What `WatchPort` answers for a port of a pod, whether or not the pod declares it."""
    pod = reader.pod(namespace, name)
    if pod is None:
        return wire.Refusal(grpc.StatusCode.NOT_FOUND, f"no pod {namespace}/{name}")
    routes = default_routes(sorted(pod.probes.get(port, ())), settings)
    server = servers.server_for(reader, pod, port)
    if server is not None:
        made = inbound_pb2.Server(
            protocol=protocol(server.protocol, routes),
            authorizations=authorizations.of_server(reader, server, settings),
            labels=server_labels(server),
        )
    else:
        policy = port_default_policy(reader, pod, port, settings)
        is_opaque = opaque.pod_port(reader, pod, port, settings)
        made = inbound_pb2.Server(
            protocol=protocol("opaque" if is_opaque else "unknown", routes),
            authorizations=authorizations.default_authorizations(policy, settings),
            labels={"group": "", "kind": "default", "name": policy},
        )
    return made.SerializeToString(deterministic=True)


def default_policy(reader: Reader, pod: Pod, settings: Settings) -> str:
    """Name of the policy of a port without a Server: the pod's, its namespace's, or the mesh's."""
    namespace = reader.namespace(pod.namespace)
    of_namespace = namespace.default_policy if namespace is not None else None
    return pod.default_policy or of_namespace or settings.default_inbound_policy


def port_default_policy(reader: Reader, pod: Pod, port: int, settings: Settings) -> str:
    """Name of the policy of one port without a Server, which may have to demand an identity."""
    policy = default_policy(reader, pod, settings)
    return _IDENTIFIED.get(policy, policy) if port in pod.identified_ports else policy


def server_labels(server: Server) -> dict[str, str]:
    """Labels of a Server in the proxy's metrics."""
    return {"group": "policy.linkerd.io", "kind": "server", "name": server.name}


def protocol(kind: str, routes: Sequence[inbound_pb2.HttpRoute]) -> inbound_pb2.ProxyProtocol:
    """The protocol that a Server's `proxyProtocol` names, with these routes."""
    made = inbound_pb2.ProxyProtocol()
    match kind:
        case "HTTP/1":
            made.http1.routes.extend(routes)
        case "HTTP/2":
            made.http2.routes.extend(routes)
        case "gRPC":
            # Probes are plain HTTP, which a gRPC server has no routes for.
            made.grpc.routes.append(_every_call())
        case "opaque":
            made.opaque.SetInParent()
        case "TLS":
            made.tls.SetInParent()
        case _:
            made.detect.timeout.CopyFrom(wire.duration(DETECT_S))
            made.detect.http_routes.extend(routes)
    return made


def default_routes(probe_paths: Sequence[str], settings: Settings) -> list[inbound_pb2.HttpRoute]:
    """
    Routes of a port that has none of its own.

    Everything, for whom the server authorizes; and the pod's probes, for the probe networks.
    """
    everything = inbound_pb2.HttpRoute(metadata=wire.default_metadata("default"))
    everything.rules.add().matches.add().path.prefix = "/"
    if not probe_paths or not settings.probe_networks:
        return [everything]
    probes = inbound_pb2.HttpRoute(
        metadata=wire.default_metadata("probe"),
        authorizations=[authorizations.probe_authorization(settings)],
    )
    get = http_types_pb2.HttpMethod(registered=http_types_pb2.HttpMethod.GET)
    probes.rules.add().matches.extend(
        http_route_pb2.HttpRouteMatch(path=http_route_pb2.PathMatch(exact=path), method=get)
        for path in probe_paths
    )
    return [everything, probes]


def _every_call() -> inbound_pb2.GrpcRoute:
    """A route for every call. A real proxy refuses a whole policy with a match that has no rpc."""
    route = inbound_pb2.GrpcRoute(metadata=wire.default_metadata("default"))
    route.rules.add().matches.add().rpc.SetInParent()
    return route
