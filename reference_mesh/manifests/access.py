"""
Service accounts and roles: each component may do what it does, and no more.

Nothing may update, patch or delete. Replicas of a component share no state but what they read, so
any number of them may run side by side, and no leader is elected.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import names
from reference_mesh.manifests.workload import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["documents", "needed"]

_FOLLOW = ("list", "watch")
"""What a reflector does. It never reads a single object: one is listed and watched by its name."""


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
            _rule("", ("namespaces", "nodes", "pods", "services"), _FOLLOW),
            _rule("discovery.k8s.io", ("endpointslices",), _FOLLOW),
            _rule("linkerd.io", ("serviceprofiles",), _FOLLOW),
            _rule("policy.linkerd.io", _POLICY_KINDS, _FOLLOW),
        ],
        "linkerd-proxy-injector": [
            _rule("", ("namespaces",), ("get",)),
        ],
    }
    roles, bindings = [], []
    for name, rules in cluster.items():
        full = f"linkerd-{namespace}-{name.removeprefix('linkerd-')}"
        roles.append(_role(full, namespace, components[name], rules, cluster_wide=True))
        bindings.append(_binding(full, namespace, components[name], name, cluster_wide=True))
    own = "linkerd-identity"
    roles.append(_role(own, namespace, "identity", _OWN_OF_IDENTITY, cluster_wide=False))
    bindings.append(_binding(own, namespace, "identity", own, cluster_wide=False))
    return [*accounts, *roles, *bindings]


def needed(wanted: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Service account and `resourceAttributes` of an access review, for all that is granted."""
    rules = {
        (item["kind"], item["metadata"]["name"]): item["rules"]
        for item in wanted
        if "rules" in item
    }
    for item in wanted:
        if "roleRef" not in item:
            continue
        place = {"namespace": item["metadata"].get("namespace", "")}
        for rule in rules[item["roleRef"]["kind"], item["roleRef"]["name"]]:
            for verb, resource in itertools.product(rule["verbs"], rule["resources"]):
                named = rule.get("resourceNames", [""])
                yield (
                    item["subjects"][0]["name"],
                    {
                        **place,
                        "verb": verb,
                        "group": rule["apiGroups"][0],
                        "resource": resource,
                        "name": named[0],
                    },
                )


_POLICY_KINDS = (
    "authorizationpolicies",
    "meshtlsauthentications",
    "networkauthentications",
    "serverauthorizations",
    "servers",
)
_OWN_OF_IDENTITY = [
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["linkerd-identity-issuer"],
        "verbs": list(_FOLLOW),
    },
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [names.TRUST_ROOTS],
        "verbs": list(_FOLLOW),
    },
    # Certificates issued and issuers reloaded are told where the control plane lives, only there.
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]


def _rule(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _role(
    name: str, namespace: str, component: str, rules: list[dict[str, Any]], *, cluster_wide: bool
) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole" if cluster_wide else "Role",
        "metadata": metadata(name, namespace, component, cluster_wide=cluster_wide),
        "rules": rules,
    }


def _binding(
    name: str, namespace: str, component: str, account: str, *, cluster_wide: bool
) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding" if cluster_wide else "RoleBinding",
        "metadata": metadata(name, namespace, component, cluster_wide=cluster_wide),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole" if cluster_wide else "Role",
            "name": name,
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
