"""Whether everything that `refmesh install` prints is on the cluster."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.checks.model import Category, Check, Failed
from reference_mesh.cli.kubernetes import path
from reference_mesh.manifests import access, crds, webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_RBAC = "rbac.authorization.k8s.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"
_AGAIN = "apply the manifest again: refmesh upgrade | kubectl apply -f -"


def categories(facts: Facts) -> Iterator[Category]:
    """`linkerd-config`."""
    wanted = access.documents(facts.namespace)

    def named(kind: str) -> list[str]:
        return [item["metadata"]["name"] for item in wanted if item["kind"] == kind]

    definitions = [crd["metadata"]["name"] for crd in crds.documents()]
    validating = [webhooks.PROFILE_CONFIG, webhooks.POLICY_CONFIG]
    items = (
        ("ClusterRoles", _RBAC, "clusterroles", named("ClusterRole"), False),
        ("ClusterRoleBindings", _RBAC, "clusterrolebindings", named("ClusterRoleBinding"), False),
        ("Roles", _RBAC, "roles", named("Role"), True),
        ("RoleBindings", _RBAC, "rolebindings", named("RoleBinding"), True),
        ("ServiceAccounts", "v1", "serviceaccounts", named("ServiceAccount"), True),
        (
            "CustomResourceDefinitions",
            "apiextensions.k8s.io/v1",
            "customresourcedefinitions",
            definitions,
            False,
        ),
        (
            "MutatingWebhookConfigurations",
            _ADMISSION,
            "mutatingwebhookconfigurations",
            [webhooks.INJECTOR_CONFIG],
            False,
        ),
        (
            "ValidatingWebhookConfigurations",
            _ADMISSION,
            "validatingwebhookconfigurations",
            validating,
            False,
        ),
    )
    existing = tuple(
        Check(
            description=f"control plane {shown} exist",
            run=functools.partial(
                _exist, facts, api_version, plural, expected, namespaced=namespaced
            ),
            hint=(
                "install them: refmesh install --crds | kubectl apply -f -"
                if plural == "customresourcedefinitions"
                else _AGAIN
            ),
        )
        for shown, api_version, plural, expected, namespaced in items
    )
    allowed = Check(
        description="control plane service accounts may do what they need",
        run=functools.partial(_allowed, facts, wanted),
        hint=_AGAIN,
    )
    yield Category("linkerd-config", (*existing, allowed))


def _exist(
    facts: Facts, api_version: str, plural: str, expected: Sequence[str], *, namespaced: bool
) -> None:
    address = path(api_version, plural, facts.namespace if namespaced else None)
    present = {item["metadata"]["name"] for item in facts.kubernetes.items(address)}
    missing = [name for name in expected if name not in present]
    if missing:
        raise Failed(f"missing {plural}: {', '.join(missing)}")


def _allowed(facts: Facts, documents: Sequence[dict[str, Any]]) -> None:
    """Ask the API's authorizer, since roles and bindings may be there and say something else."""
    denied = []
    for account, attributes in access.needed(documents):
        review = facts.kubernetes.create(
            path("authorization.k8s.io/v1", "subjectaccessreviews"),
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": f"system:serviceaccount:{facts.namespace}:{account}",
                    "groups": [
                        "system:serviceaccounts",
                        f"system:serviceaccounts:{facts.namespace}",
                        "system:authenticated",
                    ],
                    "resourceAttributes": attributes,
                },
            },
        )
        if not (review.get("status") or {}).get("allowed"):
            denied.append(f"{account} may not {attributes['verb']} {attributes['resource']}")
    if denied:
        raise Failed("; ".join(denied))
