"""Profiles: what a proxy is told of a target as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane import opaque, targets, wire
from reference_mesh.control_plane.destination import endpoints
from reference_mesh.control_plane.model.profiles import default_budget
from reference_mesh.control_plane.policy import outbound
from reference_mesh.proto.gen import destination_pb2

if TYPE_CHECKING:
    from reference_mesh.control_plane.model.pods import Pod
    from reference_mesh.control_plane.model.profiles import Profile
    from reference_mesh.control_plane.model.services import Service
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader
    from reference_mesh.control_plane.targets import Caller, ServiceTarget

__all__ = [
    "compile_profile",
    "endpoint_profile",
    "full_name",
    "profile_for",
    "service_profile",
    "with_port",
]


def compile_profile(reader: Reader, authority: str, caller: Caller, settings: Settings) -> bytes:
    """
    What `GetProfile` answers for `host:port`; an empty profile when there is nothing to say.

    Raises:
        InvalidInput: the name is neither an address nor a service's.

    """
    host, port = targets.split_port(authority)
    if targets.is_address(host):
        made = _by_address(reader, (host, port), caller, settings)
    else:
        target = targets.service_target(authority, domain=settings.cluster_domain)
        made = _by_name(reader, target, caller, settings)
    return made.SerializeToString(deterministic=True)


def full_name(namespace: str, name: str, settings: Settings) -> str:
    """Name of a service as DNS knows it."""
    return f"{name}.{namespace}.svc.{settings.cluster_domain}"


def profile_for(reader: Reader, caller: Caller, namespace: str, name: str) -> Profile | None:
    """The ServiceProfile of a service: the client's namespace beats the service's."""
    for where in (caller.namespace, namespace):
        found = reader.profile(where, name) if where else None
        if found is not None:
            return found
    return None


def service_profile(
    reader: Reader, service: Service, port: int, caller: Caller, settings: Settings
) -> destination_pb2.DestinationProfile:
    """
    Profile of a service's port; empty when the service does not define it.

    It and the outbound policy agree on what is opaque: proxies of some releases ask the one whether
    to look at what a connection holds, and the other for the routes of what they find.
    """
    defined = service.port(port)
    if defined is None and service.cluster_ips:
        return destination_pb2.DestinationProfile()
    says_opaque = defined is not None and outbound.app_kind(defined.app_protocol) == "opaque"
    name = full_name(service.namespace, service.name, settings)
    made = destination_pb2.DestinationProfile(
        fully_qualified_name=name,
        opaque_protocol=says_opaque or opaque.service_port(reader, service, port, settings),
        parent_ref=wire.service_metadata(service, port),
    )
    own = profile_for(reader, caller, service.namespace, name)
    if own is None:
        made.retry_budget.CopyFrom(default_budget())
        return made
    made.MergeFrom(own.message)
    for override in made.dst_overrides:
        override.authority = with_port(override.authority, port)
    made.profile_ref.CopyFrom(
        wire.resource_metadata(
            group="linkerd.io", kind="ServiceProfile", name=own.name, namespace=own.namespace
        )
    )
    return made


def with_port(authority: str, port: int) -> str:
    """The authority of a destination; without a port it means the one that was asked for."""
    return authority if ":" in authority else f"{authority}:{port}"


def endpoint_profile(
    reader: Reader, pod: Pod, where: wire.Address, settings: Settings
) -> destination_pb2.DestinationProfile:
    """Profile of one port of a pod, for a client that dials the pod itself."""
    return destination_pb2.DestinationProfile(
        opaque_protocol=opaque.pod_port(reader, pod, where[1], settings),
        endpoint=endpoints.weighted_address(reader, where, pod, settings),
        retry_budget=default_budget(),
    )


def _by_address(
    reader: Reader, where: wire.Address, caller: Caller, settings: Settings
) -> destination_pb2.DestinationProfile:
    service = reader.service_at(where[0])
    if service is not None:
        return service_profile(reader, service, where[1], caller, settings)
    pod = reader.pod_at(where[0])
    if pod is not None and endpoints.carries(pod, where[0]):
        return endpoint_profile(reader, pod, where, settings)
    return destination_pb2.DestinationProfile()


def _by_name(
    reader: Reader, target: ServiceTarget, caller: Caller, settings: Settings
) -> destination_pb2.DestinationProfile:
    service = reader.service(target.namespace, target.name)
    if service is None:
        return destination_pb2.DestinationProfile(
            fully_qualified_name=full_name(target.namespace, target.name, settings),
            opaque_protocol=target.port in settings.opaque_ports,
            retry_budget=default_budget(),
        )
    if target.hostname is not None:
        return _of_instance(reader, target, settings)
    return service_profile(reader, service, target.port, caller, settings)


def _of_instance(
    reader: Reader, target: ServiceTarget, settings: Settings
) -> destination_pb2.DestinationProfile:
    for part in reader.slices(target.namespace, target.name):
        for endpoint in part.endpoints:
            if endpoint.hostname == target.hostname and endpoint.pod and endpoint.addresses:
                pod = reader.pod(part.namespace, endpoint.pod)
                if pod is not None and endpoints.carries(pod, endpoint.addresses[0]):
                    where = (endpoint.addresses[0], target.port)
                    return endpoint_profile(reader, pod, where, settings)
    return destination_pb2.DestinationProfile()
