"""
Who may use a port: authorizations from policies and from defaults.

A client is let in when one authorization matches its address and its identity. What refers to
something that is missing or cannot be read authorizes nobody. Nor does what is for no network, as
for the cluster's where there are none: it is left out, since with it a proxy refuses the whole
policy.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from reference_mesh.control_plane import identities, wire
from reference_mesh.control_plane.model.policies import Identities, NetworkMatch
from reference_mesh.manifests import names
from reference_mesh.proto.gen import inbound_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reference_mesh.control_plane.model.policies import (
        AuthorizationPolicy,
        MeshTLS,
        NetworkAuthentication,
        Reference,
        Server,
        ServerAuthorization,
    )
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader

__all__ = [
    "ALL_NETWORKS",
    "authentication",
    "authorizes",
    "default_authorizations",
    "of_policy",
    "of_server",
    "of_server_authorization",
    "probe_authorization",
    "targets_server",
]

_GROUP = "policy.linkerd.io"
ALL_NETWORKS: tuple[NetworkMatch, ...] = (
    NetworkMatch(ipaddress.ip_network("0.0.0.0/0")),
    NetworkMatch(ipaddress.ip_network("::/0")),
)
_ANY_IDENTITY = Identities(names=("*",))


def of_server(reader: Reader, server: Server, settings: Settings) -> list[inbound_pb2.Authz]:
    """Every authorization of a Server, by policies first and then by its access policy."""
    namespace = server.namespace
    found = [
        of_server_authorization(authorization, settings)
        for authorization in sorted(
            reader.server_authorizations(namespace), key=lambda item: item.name
        )
        if authorizes(authorization, server)
        and (authorization.networks or settings.cluster_networks)
    ]
    for policy in sorted(reader.authorization_policies(namespace), key=lambda item: item.name):
        if targets_server(policy, server):
            made = of_policy(reader, policy, settings)
            if made is not None:
                found.append(made)
    return [*found, *default_authorizations(server.access_policy, settings)]


def authorizes(authorization: ServerAuthorization, server: Server) -> bool:
    """Whether a ServerAuthorization names or selects a Server."""
    if isinstance(authorization.server, str):
        return authorization.server == server.name
    return authorization.server.selects(server.labels)


def targets_server(policy: AuthorizationPolicy, server: Server) -> bool:
    """Whether an AuthorizationPolicy is about a Server, by name or by their namespace."""
    target = policy.target
    if target.kind == "Server" and target.group == _GROUP:
        return target.name == server.name and target.namespace in {None, server.namespace}
    return target.kind == "Namespace" and not target.group and target.name == server.namespace


def of_server_authorization(
    authorization: ServerAuthorization, settings: Settings
) -> inbound_pb2.Authz:
    """
    The authorization that a ServerAuthorization gives.

    Without networks it is for the cluster's networks.
    """
    cluster = tuple(NetworkMatch(net) for net in settings.cluster_networks)
    return _named(
        "serverauthorization",
        authorization.name,
        authorization.namespace,
        networks=authorization.networks or cluster,
        clients=authorization.identities,
        settings=settings,
    )


def of_policy(
    reader: Reader, policy: AuthorizationPolicy, settings: Settings
) -> inbound_pb2.Authz | None:
    """
    The authorization that an AuthorizationPolicy gives: all that it requires at once.

    None when it refers to something that does not exist, or to more than one of a kind, or to a
    kind that is no authentication: what cannot be required lets nobody in.
    """
    clients: list[Identities] = []
    networks: list[tuple[NetworkMatch, ...]] = []
    for reference in policy.required:
        found = _required(reader, policy, reference)
        if isinstance(found, Identities):
            clients.append(found)
        elif found is not None:
            networks.append(found)
        else:
            return None
    if len(clients) > 1 or len(networks) > 1:
        return None
    return _named(
        "authorizationpolicy",
        policy.name,
        policy.namespace,
        networks=networks[0] if networks else ALL_NETWORKS,
        clients=clients[0] if clients else None,
        settings=settings,
    )


def default_authorizations(policy: str, settings: Settings) -> list[inbound_pb2.Authz]:
    """
    What a default policy (`deny`, `audit`, `all-…`, `cluster-…`) lets in by itself.

    A policy of an unknown name lets in nobody.
    """
    networks = ALL_NETWORKS
    if policy.startswith("cluster-"):
        networks = tuple(NetworkMatch(net) for net in settings.cluster_networks)
    if policy == "deny" or policy not in names.DEFAULT_POLICIES or not networks:
        return []
    clients = _ANY_IDENTITY if policy.endswith("-authenticated") else None
    return [
        inbound_pb2.Authz(
            networks=_networks(networks),
            authentication=authentication(clients, settings),
            labels={"group": "", "kind": "default", "name": policy},
            metadata=wire.default_metadata(policy),
        )
    ]


def probe_authorization(settings: Settings) -> inbound_pb2.Authz:
    """Lets the kubelet's probes in, whose addresses have no identity."""
    return inbound_pb2.Authz(
        networks=_networks(NetworkMatch(net) for net in settings.probe_networks),
        authentication=authentication(None, settings),
        labels={"group": "", "kind": "default", "name": "probe"},
        metadata=wire.default_metadata("probe"),
    )


def authentication(clients: Identities | None, settings: Settings) -> inbound_pb2.Authn:
    """What a client must prove; None is nothing."""
    made = inbound_pb2.Authn()
    if clients is None:
        made.unauthenticated.SetInParent()
        return made
    if clients.unauthenticated:
        made.meshTLS.unauthenticated.SetInParent()
        return made
    permitted = made.meshTLS.identities
    permitted.SetInParent()
    for name in clients.names:
        if name == "*":
            permitted.suffixes.add()
        elif name.startswith("*."):
            permitted.suffixes.add(parts=name.removeprefix("*.").split("."))
        else:
            permitted.identities.add(name=name)
    where = {"mesh": settings.namespace, "trust_domain": settings.trust_domain}
    for namespace, account in clients.accounts:
        permitted.identities.add(name=identities.account_identity(account, namespace, **where))
    for namespace in clients.namespaces:
        suffix = identities.namespace_suffix(namespace, **where)
        permitted.suffixes.add(parts=suffix.split("."))
    return made


def _required(
    reader: Reader, policy: AuthorizationPolicy, reference: Reference
) -> Identities | tuple[NetworkMatch, ...] | None:
    namespace = reference.namespace or policy.namespace
    found: MeshTLS | NetworkAuthentication | None
    match reference.kind:
        case "MeshTLSAuthentication":
            found = reader.mesh_tls(namespace, reference.name)
            return found.identities if found is not None else None
        case "NetworkAuthentication":
            known = reader.network(namespace, reference.name)
            return known.networks if known is not None and known.networks else None
        case "ServiceAccount":
            return Identities(accounts=((namespace, reference.name),))
    return None


def _named(
    kind: str,
    name: str,
    namespace: str,
    *,
    networks: tuple[NetworkMatch, ...],
    clients: Identities | None,
    settings: Settings,
) -> inbound_pb2.Authz:
    return inbound_pb2.Authz(
        networks=_networks(networks),
        authentication=authentication(clients, settings),
        labels={"group": _GROUP, "kind": kind, "name": name},
        metadata=wire.resource_metadata(group=_GROUP, kind=kind, name=name, namespace=namespace),
    )


def _networks(matches: Iterable[NetworkMatch]) -> list[inbound_pb2.Network]:
    return [
        inbound_pb2.Network(
            net=wire.network(match.net), **{"except": [wire.network(n) for n in match.excepts]}
        )
        for match in matches
    ]
