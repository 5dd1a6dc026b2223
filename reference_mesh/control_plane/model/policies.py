"""
Facts of the policy kinds: Server, ServerAuthorization, AuthorizationPolicy and authentications.

The validating webhook refuses wrong documents, but may be away: what cannot be read raises, and
the snapshot then counts the object as absent. An authorization that is absent lets nobody in.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.model import selectors
from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AuthorizationPolicy",
    "Identities",
    "MeshTLS",
    "NetworkAuthentication",
    "NetworkMatch",
    "Reference",
    "Server",
    "ServerAuthorization",
    "authorization_policy_of",
    "mesh_tls_of",
    "network_authentication_of",
    "server_authorization_of",
    "server_of",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class NetworkMatch:
    """Client addresses: a network without some of its parts."""

    net: Network
    excepts: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Identities:
    """
    Clients by identity.

    names: whole identities, `*`, or `*.suffix`. accounts: service accounts as (namespace, name).
    namespaces: every service account of these. Unauthenticated: any TLS client, even a nameless.
    """

    names: tuple[str, ...] = ()
    accounts: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[str, ...] = ()
    unauthenticated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference from a policy to another object; namespace None is the policy's own."""

    group: str
    kind: str
    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A port of selected pods, its protocol, and what happens to clients that no policy names."""

    namespace: str
    name: str
    created: str
    selector: selectors.Selector
    port: int | str
    protocol: str = "unknown"
    access_policy: str = "deny"
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    """Selects external workloads rather than pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAuthorization:
    """Clients of the Servers that it names or selects."""

    namespace: str
    name: str
    server: str | selectors.Selector
    networks: tuple[NetworkMatch, ...] = ()
    identities: Identities | None = None
    """None lets in clients without identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicy:
    """Clients of one target: all of the authentications that it requires must hold."""

    namespace: str
    name: str
    target: Reference
    required: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshTLS:
    """MeshTLSAuthentication: clients by identity."""

    namespace: str
    name: str
    identities: Identities


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAuthentication:
    """Clients by address."""

    namespace: str
    name: str
    networks: tuple[NetworkMatch, ...] = ()


def server_of(document: dict[str, Any]) -> Server:
    """Facts of a Server, v1beta1 to v1beta3."""
    metadata, spec = document["metadata"], document["spec"]
    external = "externalWorkloadSelector" in spec
    selector = spec.get("externalWorkloadSelector" if external else "podSelector")
    return Server(
        namespace=metadata["namespace"],
        name=metadata["name"],
        created=metadata.get("creationTimestamp") or "",
        selector=selectors.selector_of(selector),
        port=spec["port"],
        protocol=spec.get("proxyProtocol") or "unknown",
        access_policy=spec.get("accessPolicy") or "deny",
        labels=metadata.get("labels") or {},
        external=external,
    )


def server_authorization_of(document: dict[str, Any]) -> ServerAuthorization:
    """
    Facts of a ServerAuthorization.

    Raises:
        InvalidInput: it names no client, or a network that is none.

    """
    metadata, spec = document["metadata"], document["spec"]
    client, server = spec["client"], spec["server"]
    networks = tuple(_network(entry) for entry in client.get("networks") or ())
    identities = None if client.get("unauthenticated") else _client(client.get("meshTLS"), metadata)
    return ServerAuthorization(
        namespace=metadata["namespace"],
        name=metadata["name"],
        server=server.get("name") or selectors.selector_of(server.get("selector")),
        networks=networks,
        identities=identities,
    )


def authorization_policy_of(document: dict[str, Any]) -> AuthorizationPolicy:
    """Facts of an AuthorizationPolicy."""
    metadata, spec = document["metadata"], document["spec"]
    return AuthorizationPolicy(
        namespace=metadata["namespace"],
        name=metadata["name"],
        target=_reference(spec["targetRef"]),
        required=tuple(_reference(r) for r in spec.get("requiredAuthenticationRefs") or ()),
    )


def mesh_tls_of(document: dict[str, Any]) -> MeshTLS:
    """
    Facts of a MeshTLSAuthentication.

    Raises:
        InvalidInput: a reference is neither to a ServiceAccount nor to a Namespace.

    """
    metadata, spec = document["metadata"], document["spec"]
    accounts, namespaces = [], []
    for reference in map(_reference, spec.get("identityRefs") or ()):
        if reference.kind == "ServiceAccount":
            accounts.append((reference.namespace or metadata["namespace"], reference.name))
        elif reference.kind == "Namespace":
            namespaces.append(reference.name)
        else:
            raise InvalidInput(
                f"identityRefs: kind {reference.kind} is neither ServiceAccount nor Namespace"
            )
    return MeshTLS(
        namespace=metadata["namespace"],
        name=metadata["name"],
        identities=Identities(
            names=tuple(spec.get("identities") or ()),
            accounts=tuple(accounts),
            namespaces=tuple(namespaces),
        ),
    )


def network_authentication_of(document: dict[str, Any]) -> NetworkAuthentication:
    """
    Facts of a NetworkAuthentication.

    Raises:
        InvalidInput: an entry is not a network.

    """
    metadata = document["metadata"]
    return NetworkAuthentication(
        namespace=metadata["namespace"],
        name=metadata["name"],
        networks=tuple(_network(entry) for entry in document["spec"].get("networks") or ()),
    )


def _client(mesh_tls: dict[str, Any] | None, metadata: dict[str, Any]) -> Identities:
    if not mesh_tls:
        raise InvalidInput("client: neither unauthenticated nor meshTLS is set")
    if mesh_tls.get("unauthenticatedTLS"):
        return Identities(unauthenticated=True)
    found = Identities(
        names=tuple(mesh_tls.get("identities") or ()),
        accounts=tuple(
            (account.get("namespace") or metadata["namespace"], account["name"])
            for account in mesh_tls.get("serviceAccounts") or ()
        ),
    )
    if not found.names and not found.accounts:
        raise InvalidInput("client.meshTLS: names no identity and no service account")
    return found


def _reference(document: dict[str, Any]) -> Reference:
    return Reference(
        group=document.get("group") or "",
        kind=document["kind"],
        name=document["name"],
        namespace=document.get("namespace"),
    )


def _network(entry: dict[str, Any] | str) -> NetworkMatch:
    document = {"cidr": entry} if isinstance(entry, str) else entry
    try:
        return NetworkMatch(
            ipaddress.ip_network(document["cidr"], strict=False),
            tuple(
                ipaddress.ip_network(part, strict=False) for part in document.get("except") or ()
            ),
        )
    except ValueError as error:
        raise InvalidInput(f"networks: {error}") from error
