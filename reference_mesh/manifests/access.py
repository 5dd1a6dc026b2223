"""Service accounts and roles: each component may do what it does, and no more."""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests import names
from reference_mesh.manifests.workload import metadata

__all__ = ["documents"]

_READ = ("get", "list", "watch")


def documents(namespace: str) -> list[dict[str, Any]]:
    """Accounts first, then roles, then bindings."""
    components = {
        "linkerd-identity": "identity",
        "linkerd-destination": "destination",
        "linkerd-proxy-injector": "proxy-injector",
    }
    accounts = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(name, namespace, component),
        }
        for name, component in components.items()
    ]
    cluster = {
        "linkerd-identity": [
            _rule("authentication.k8s.io", ("tokenreviews",), ("create",)),
        ],
        "linkerd-destination": [
            _rule("", ("pods", "services", "namespaces", "nodes", "endpoints"), _READ),
            _rule("apps", ("replicasets", "deployments"), _READ),
            _rule("discovery.k8s.io", ("endpointslices",), _READ),
            _rule("linkerd.io", ("serviceprofiles",), _READ),
            _rule("policy.linkerd.io", _POLICY_KINDS, _READ),
            _rule("policy.linkerd.io", _WITH_STATUS, ("patch", "update")),
            _rule("gateway.networking.k8s.io", _ROUTES, _READ),
            _rule("gateway.networking.k8s.io", _ROUTES_STATUS, ("patch", "update")),
            _rule("split.smi-spec.io", ("trafficsplits",), _READ),
            _rule("workload.linkerd.io", ("externalworkloads",), _READ),
            _rule("apiextensions.k8s.io", ("customresourcedefinitions",), _READ),
        ],
        "linkerd-proxy-injector": [
            _rule("", ("namespaces",), _READ),
        ],
    }
    roles, bindings = [], []
    for name, rules in cluster.items():
        full = f"linkerd-{namespace}-{name.removeprefix('linkerd-')}"
        roles.append(_role(full, None, components[name], rules))
        bindings.append(_binding(full, None, name, namespace, components[name]))
    roles.append(_role("linkerd-identity", namespace, "identity", _OWN_OF_IDENTITY))
    bindings.append(
        _binding("linkerd-identity", namespace, "linkerd-identity", namespace, "identity")
    )
    return [*accounts, *roles, *bindings]


_POLICY_KINDS = (
    "authorizationpolicies",
    "egressnetworks",
    "httplocalratelimitpolicies",
    "httproutes",
    "meshtlsauthentications",
    "networkauthentications",
    "serverauthorizations",
    "servers",
)
_WITH_STATUS = ("egressnetworks/status", "httplocalratelimitpolicies/status", "httproutes/status")
_ROUTES = ("grpcroutes", "httproutes", "tcproutes", "tlsroutes")
_OWN_OF_IDENTITY = [
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["linkerd-identity-issuer"],
        "verbs": list(_READ),
    },
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [names.TRUST_ROOTS],
        "verbs": list(_READ),
    },
    # Certificates issued and issuers reloaded are told where the control plane lives, only there.
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
_ROUTES_STATUS = tuple(f"{route}/status" for route in _ROUTES)


def _rule(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _role(
    name: str, namespace: str | None, component: str, rules: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": metadata(name, namespace, component),
        "rules": rules,
    }


def _binding(
    name: str, namespace: str | None, account: str, account_namespace: str, component: str
) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata(name, namespace, component),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role" if namespace else "ClusterRole",
            "name": name,
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }
