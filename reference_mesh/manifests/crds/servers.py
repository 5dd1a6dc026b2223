"""Kinds that say who may talk to a port: `policy.linkerd.io`."""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests import names
from reference_mesh.manifests.crds.schema import (
    NAME,
    REFERENCE,
    STR,
    Schema,
    Version,
    array,
    column,
    crd,
    integer,
    mapping,
    one_of,
    record,
    text,
)

__all__ = ["GROUP", "documents"]

GROUP = "policy.linkerd.io"

_PROTOCOLS = ("unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS")

_SELECTOR: Schema = record(
    {
        "matchLabels": mapping(STR),
        "matchExpressions": array(
            record(
                {
                    "key": STR,
                    "operator": text(of=("In", "NotIn", "Exists", "DoesNotExist")),
                    "values": array(STR),
                },
                "key",
                "operator",
            )
        ),
    }
)

_CIDRS: Schema = array(record({"cidr": STR, "except": array(STR)}, "cidr"))


def documents() -> list[dict[str, Any]]:
    """The definitions, servers first."""
    return [
        _server(),
        _server_authorization(),
        _authorization_policy(),
        _mesh_tls_authentication(),
        _network_authentication(),
        _rate_limit(),
        _egress_network(),
    ]


def _server() -> dict[str, Any]:
    port = {"x-kubernetes-int-or-string": True}
    common: dict[str, Schema] = {
        "podSelector": _SELECTOR,
        "port": port,
        "proxyProtocol": text(of=_PROTOCOLS, default="unknown"),
    }
    later = common | {"externalWorkloadSelector": _SELECTOR}
    with_policy = later | {"accessPolicy": text(of=names.DEFAULT_POLICIES, default="deny")}
    columns = (
        column("Port", ".spec.port", "The port that is described", "string"),
        column("Protocol", ".spec.proxyProtocol", "What is spoken on the port"),
        column("Access Policy", ".spec.accessPolicy", "What holds when no authorization matches"),
    )
    either = ("podSelector", "externalWorkloadSelector")
    versions = (
        Version(
            name="v1beta1",
            spec=record(common, "podSelector", "port"),
            columns=columns[:2],
        ),
        Version(name="v1beta2", spec=one_of(record(later, "port"), *either), columns=columns[:2]),
        Version(
            name="v1beta3",
            spec=one_of(record(with_policy, "port"), *either),
            columns=columns,
            stored=True,
        ),
    )
    return crd(GROUP, "Server", "servers", versions, short=("srv",))


def _server_authorization() -> dict[str, Any]:
    identities: dict[str, Schema] = {
        "unauthenticatedTLS": {"type": "boolean"},
        "identities": array(
            text(pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        ),
        "serviceAccounts": array(record({"name": NAME, "namespace": NAME}, "name")),
    }
    client = record(
        {
            "networks": _CIDRS,
            "unauthenticated": {"type": "boolean"},
            "meshTLS": record(identities),
        }
    )
    server = one_of(record({"name": NAME, "selector": _SELECTOR}), "name", "selector")
    spec = record({"server": server, "client": client}, "server", "client")
    columns = (column("Server", ".spec.server.name", "The server that this grants access to"),)
    versions = (Version(name="v1beta1", spec=spec, columns=columns, stored=True),)
    return crd(GROUP, "ServerAuthorization", "serverauthorizations", versions, short=("saz",))


def _authorization_policy() -> dict[str, Any]:
    spec = record(
        {"targetRef": REFERENCE, "requiredAuthenticationRefs": array(REFERENCE)},
        "targetRef",
        "requiredAuthenticationRefs",
    )
    columns = (
        column("Target Kind", ".spec.targetRef.kind", "What the policy applies to"),
        column("Target", ".spec.targetRef.name", "Which one"),
    )
    versions = (Version(name="v1alpha1", spec=spec, columns=columns, stored=True),)
    return crd(
        GROUP, "AuthorizationPolicy", "authorizationpolicies", versions, short=("authzpolicy",)
    )


def _mesh_tls_authentication() -> dict[str, Any]:
    members = {
        "identities": array(text(least=1), least=1),
        "identityRefs": array(REFERENCE, least=1),
    }
    spec = one_of(record(members), *members)
    columns = (column("Identities", ".spec.identities", "Identities that are accepted"),)
    versions = (Version(name="v1alpha1", spec=spec, columns=columns, stored=True),)
    return crd(
        GROUP, "MeshTLSAuthentication", "meshtlsauthentications", versions, short=("meshtlsauthn",)
    )


def _network_authentication() -> dict[str, Any]:
    spec = record({"networks": {**_CIDRS, "minItems": 1}}, "networks")
    columns = (column("Networks", ".spec.networks[*].cidr", "Networks that are accepted"),)
    versions = (Version(name="v1alpha1", spec=spec, columns=columns, stored=True),)
    return crd(
        GROUP,
        "NetworkAuthentication",
        "networkauthentications",
        versions,
        short=("netauthn", "networkauthn"),
    )


def _rate_limit() -> dict[str, Any]:
    limit = record({"requestsPerSecond": integer(1)}, "requestsPerSecond")
    override = record(
        {"requestsPerSecond": integer(1), "clientRefs": array(REFERENCE, least=1)},
        "requestsPerSecond",
        "clientRefs",
    )
    spec = record(
        {
            "targetRef": REFERENCE,
            "total": limit,
            "identity": limit,
            "overrides": array(override),
        },
        "targetRef",
    )
    columns = (
        column("Target Kind", ".spec.targetRef.kind", "What the limit applies to"),
        column("Target", ".spec.targetRef.name", "Which one"),
        column("Total RPS", ".spec.total.requestsPerSecond", "Of all clients", "integer"),
        column("Identity RPS", ".spec.identity.requestsPerSecond", "Of each client", "integer"),
    )
    versions = (
        Version(name="v1alpha1", spec=spec, columns=columns, status=CONDITIONS, stored=True),
    )
    return crd(GROUP, "HTTPLocalRateLimitPolicy", "httplocalratelimitpolicies", versions)


def _egress_network() -> dict[str, Any]:
    spec = record(
        {"networks": _CIDRS, "trafficPolicy": text(of=("Allow", "Deny"))}, "trafficPolicy"
    )
    columns = (column("Traffic Policy", ".spec.trafficPolicy", "What holds without a route"),)
    versions = (
        Version(name="v1alpha1", spec=spec, columns=columns, status=CONDITIONS, stored=True),
    )
    return crd(GROUP, "EgressNetwork", "egressnetworks", versions)


CONDITIONS: Schema = record(
    {
        "conditions": array(
            record(
                {
                    "type": STR,
                    "status": text(of=("True", "False", "Unknown")),
                    "reason": STR,
                    "message": STR,
                    "observedGeneration": integer(0),
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                },
                "type",
                "status",
            )
        )
    }
)
"""Status of a kind that is accepted or not."""
