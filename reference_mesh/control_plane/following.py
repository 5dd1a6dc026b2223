"""Which kinds feed the snapshot, and how their objects become facts in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.kube.client import Kind
from reference_mesh.control_plane.kube.reflector import Reflector
from reference_mesh.control_plane.logfmt import Log
from reference_mesh.control_plane.model import pods, policies, profiles, services
from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightkube import AsyncClient

    from reference_mesh.control_plane.snapshot import Fact, Key, Snapshot

__all__ = ["SOURCES", "FactSink", "Follower", "Source"]

_log = Log("snapshot")


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of the API, the type of its facts, and how they are taken from an object."""

    kind: Kind
    fact: type
    parse: Callable[[dict[str, Any]], Fact]


SOURCES = (
    Source(
        Kind("", "v1", "Namespace", "namespaces", namespaced=False),
        pods.Namespace,
        pods.namespace_of,
    ),
    Source(Kind("", "v1", "Node", "nodes", namespaced=False), pods.Node, pods.node_of),
    Source(Kind("", "v1", "Pod", "pods"), pods.Pod, pods.pod_of),
    Source(Kind("", "v1", "Service", "services"), services.Service, services.service_of),
    Source(
        Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
        services.Slice,
        services.slice_of,
    ),
    Source(
        Kind("policy.linkerd.io", "v1beta3", "Server", "servers"),
        policies.Server,
        policies.server_of,
    ),
    Source(
        Kind("policy.linkerd.io", "v1beta1", "ServerAuthorization", "serverauthorizations"),
        policies.ServerAuthorization,
        policies.server_authorization_of,
    ),
    Source(
        Kind("policy.linkerd.io", "v1alpha1", "AuthorizationPolicy", "authorizationpolicies"),
        policies.AuthorizationPolicy,
        policies.authorization_policy_of,
    ),
    Source(
        Kind("policy.linkerd.io", "v1alpha1", "MeshTLSAuthentication", "meshtlsauthentications"),
        policies.MeshTLS,
        policies.mesh_tls_of,
    ),
    Source(
        Kind("policy.linkerd.io", "v1alpha1", "NetworkAuthentication", "networkauthentications"),
        policies.NetworkAuthentication,
        policies.network_authentication_of,
    ),
    Source(
        Kind("linkerd.io", "v1alpha2", "ServiceProfile", "serviceprofiles"),
        profiles.Profile,
        profiles.profile_of,
    ),
)
"""Everything that destination and policy are compiled from."""


class FactSink:
    """Puts the objects of one source into the snapshot."""

    def __init__(self, source: Source, snapshot: Snapshot) -> None:
        self._source = source
        self._snapshot = snapshot

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """These objects are all that there are."""
        for key in self._snapshot.keys(self._source.fact) - {_key(item) for item in objects}:
            self._snapshot.drop(self._source.fact, key)
        for item in objects:
            self.put(item)

    def put(self, item: dict[str, Any]) -> None:
        """
        This object is new or has changed.

        One that cannot be read counts as absent: half of a policy would be another policy.
        """
        key = _key(item)
        try:
            fact = self._source.parse(item)
        except (InvalidInput, KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else error
            name = "/".join(filter(None, key))
            _log.warning("object ignored", kind=self._source.kind.name, name=name, error=why)
            self._snapshot.drop(self._source.fact, key)
        else:
            self._snapshot.put(key, fact)

    def drop(self, item: dict[str, Any]) -> None:
        """This object is gone."""
        self._snapshot.drop(self._source.fact, _key(item))


class Follower:
    """All reflectors that feed one snapshot."""

    def __init__(self, client: AsyncClient, snapshot: Snapshot) -> None:
        self._reflectors = [
            Reflector(client, source.kind, FactSink(source, snapshot)) for source in SOURCES
        ]

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once: before that, absence means nothing."""
        return all(reflector.synced.is_set() for reflector in self._reflectors)

    async def wait_synced(self) -> None:
        """Return once every kind was listed."""
        for reflector in self._reflectors:
            await reflector.synced.wait()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())


def _key(item: dict[str, Any]) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace") or "", metadata["name"]
