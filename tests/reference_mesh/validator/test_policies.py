from __future__ import annotations

from typing import Any

import pytest

from reference_mesh.control_plane.validator import check
from reference_mesh.errors import InvalidInput

POLICY = "policy.linkerd.io"


def validate(kind: str, spec: dict[str, Any]) -> None:
    document = {"metadata": {"namespace": "shop", "name": "web"}, "spec": spec}
    check(POLICY, kind, document)


SELECTOR = {"matchLabels": {"app": "web"}}
SERVER = {"podSelector": SELECTOR, "port": 80}
MTLS = {"group": POLICY, "kind": "MeshTLSAuthentication", "name": "m"}
NETWORK = {"group": POLICY, "kind": "NetworkAuthentication", "name": "n"}
ACCOUNT = {"kind": "ServiceAccount", "name": "client"}
TARGET = {"group": POLICY, "kind": "Server", "name": "web"}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Server", SERVER),
        ("Server", SERVER | {"port": "http", "proxyProtocol": "gRPC", "accessPolicy": "audit"}),
        ("Server", {"externalWorkloadSelector": SELECTOR, "port": 80}),
        ("ServerAuthorization", {"server": {"name": "w"}, "client": {"unauthenticated": True}}),
        (
            "ServerAuthorization",
            {
                "server": {"selector": SELECTOR},
                "client": {
                    "networks": [
                        {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]},
                        {"cidr": "::1"},
                    ],
                    "meshTLS": {"identities": ["*", "*.example", "a.example"]},
                },
            },
        ),
        (
            "AuthorizationPolicy",
            {"targetRef": TARGET, "requiredAuthenticationRefs": [MTLS, NETWORK]},
        ),
        ("AuthorizationPolicy", {"targetRef": TARGET, "requiredAuthenticationRefs": []}),
        ("AuthorizationPolicy", {"targetRef": TARGET, "requiredAuthenticationRefs": [ACCOUNT]}),
        (
            "AuthorizationPolicy",
            {
                "targetRef": {"kind": "Namespace", "name": "shop"},
                "requiredAuthenticationRefs": [NETWORK],
            },
        ),
        (
            "AuthorizationPolicy",
            {
                "targetRef": {
                    "group": "gateway.networking.k8s.io",
                    "kind": "HTTPRoute",
                    "name": "r",
                },
                "requiredAuthenticationRefs": [MTLS],
            },
        ),
        ("MeshTLSAuthentication", {"identities": ["a.b.c"]}),
        ("MeshTLSAuthentication", {"identityRefs": [ACCOUNT, {"kind": "Namespace", "name": "x"}]}),
        ("NetworkAuthentication", {"networks": [{"cidr": "10.0.0.1"}]}),
        (
            "HTTPLocalRateLimitPolicy",
            {
                "targetRef": TARGET,
                "total": {"requestsPerSecond": 100},
                "identity": {"requestsPerSecond": 10},
                "overrides": [{"requestsPerSecond": 20, "clientRefs": [ACCOUNT]}],
            },
        ),
    ],
)
def test_sound_policy_is_accepted(kind: str, spec: dict[str, Any]) -> None:
    validate(kind, spec)


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("Server", {"port": 80}, "spec:"),
        ("Server", SERVER | {"proxyProtocol": "HTTP/3"}, "spec.proxyProtocol"),
        ("Server", SERVER | {"accessPolicy": "open"}, "spec.accessPolicy"),
        ("Server", SERVER | {"port": 0}, "spec.port"),
        (
            "ServerAuthorization",
            {
                "server": {"name": "w"},
                "client": {"unauthenticated": True, "meshTLS": {"identities": ["*"]}},
            },
            "spec.client:",
        ),
        (
            "ServerAuthorization",
            {
                "server": {"name": "w"},
                "client": {"meshTLS": {"unauthenticatedTLS": True, "identities": ["*"]}},
            },
            "spec.client.meshTLS",
        ),
        ("ServerAuthorization", {"server": {"name": "w"}, "client": {}}, "spec.client:"),
        (
            "ServerAuthorization",
            {
                "server": {"name": "w"},
                "client": {"unauthenticated": True, "networks": [{"cidr": "10.0.0.0/40"}]},
            },
            "spec.client.networks[0].cidr",
        ),
        (
            "AuthorizationPolicy",
            {"targetRef": {"kind": "Namespace", "name": "other"}, "requiredAuthenticationRefs": []},
            "spec.targetRef.name",
        ),
        (
            "AuthorizationPolicy",
            {"targetRef": TARGET | {"namespace": "other"}, "requiredAuthenticationRefs": []},
            "spec.targetRef.namespace",
        ),
        (
            "AuthorizationPolicy",
            {
                "targetRef": {"group": "apps", "kind": "Deployment", "name": "w"},
                "requiredAuthenticationRefs": [],
            },
            "spec.targetRef",
        ),
        ("AuthorizationPolicy", {"targetRef": TARGET}, "spec.requiredAuthenticationRefs"),
        (
            "AuthorizationPolicy",
            {"targetRef": TARGET, "requiredAuthenticationRefs": [MTLS, ACCOUNT]},
            "spec.requiredAuthenticationRefs",
        ),
        (
            "AuthorizationPolicy",
            {"targetRef": TARGET, "requiredAuthenticationRefs": [NETWORK, NETWORK]},
            "spec.requiredAuthenticationRefs",
        ),
        ("MeshTLSAuthentication", {"identities": []}, "spec:"),
        ("MeshTLSAuthentication", {"identities": ["a"], "identityRefs": [ACCOUNT]}, "spec:"),
        (
            "MeshTLSAuthentication",
            {"identityRefs": [{"kind": "Namespace", "name": "x", "namespace": "y"}]},
            "spec.identityRefs[0].namespace",
        ),
        ("MeshTLSAuthentication", {"identities": ["a.*.b"]}, "spec.identities[0]"),
        ("NetworkAuthentication", {"networks": []}, "spec.networks"),
        (
            "NetworkAuthentication",
            {"networks": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]},
            "spec.networks[0].except[0]",
        ),
        (
            "NetworkAuthentication",
            {"networks": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]},
            "spec.networks[0].except[0]",
        ),
        (
            "HTTPLocalRateLimitPolicy",
            {
                "targetRef": TARGET,
                "total": {"requestsPerSecond": 5},
                "identity": {"requestsPerSecond": 6},
            },
            "spec.identity.requestsPerSecond",
        ),
        (
            "HTTPLocalRateLimitPolicy",
            {
                "targetRef": TARGET,
                "total": {"requestsPerSecond": 5},
                "overrides": [{"requestsPerSecond": 6, "clientRefs": [ACCOUNT]}],
            },
            "spec.overrides[0].requestsPerSecond",
        ),
    ],
)
def test_refusal_names_object_and_field(kind: str, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate(kind, spec)
    assert str(caught.value).startswith(f"{kind} shop/web: {field}")


def test_kind_that_is_not_known_is_left_alone() -> None:
    check("example.com", "Thing", {"spec": {}})


@pytest.mark.parametrize("kind", ["Server", "ServerAuthorization", "AuthorizationPolicy"])
@pytest.mark.parametrize("spec", [None, [], "x", 3])
def test_nonsense_is_refused_not_crashed_on(kind: str, spec: Any) -> None:
    with pytest.raises(InvalidInput):
        check(POLICY, kind, {"metadata": {"namespace": "a", "name": "b"}, "spec": spec})
