"""What of the mesh lies on a cluster, found by label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.cli.kubernetes import path
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reference_mesh.cli.kubernetes import Kubernetes

__all__ = ["found", "key", "stub", "without"]

_RBAC = "rbac.authorization.k8s.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"

_KINDS = (
    # The webhooks go first, so that nothing is sent to a component that is being deleted.
    (_ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    (_ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False),
    ("apps/v1", "Deployment", "deployments", True),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", True),
    ("batch/v1", "CronJob", "cronjobs", True),
    ("v1", "Service", "services", True),
    ("v1", "ConfigMap", "configmaps", True),
    ("v1", "Secret", "secrets", True),
    (_RBAC, "RoleBinding", "rolebindings", True),
    (_RBAC, "Role", "roles", True),
    ("v1", "ServiceAccount", "serviceaccounts", True),
    (_RBAC, "ClusterRoleBinding", "clusterrolebindings", False),
    (_RBAC, "ClusterRole", "clusterroles", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    ("v1", "Namespace", "namespaces", False),
)


def found(kubernetes: Kubernetes, namespace: str) -> list[dict[str, Any]]:
    """Everything that carries the label of this control plane, in the order to delete it."""
    selector = f"{names.CONTROL_PLANE_NS}={namespace}"
    result: list[dict[str, Any]] = []
    for api_version, kind, plural, namespaced in _KINDS:
        address = path(api_version, plural, namespace if namespaced else None)
        items = kubernetes.items(address, labelSelector=selector)
        result += [{**item, "apiVersion": api_version, "kind": kind} for item in items]
    return result


def key(document: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What makes two documents the same object: group, kind, namespace and name."""
    metadata = document["metadata"]
    group = document["apiVersion"].rpartition("/")[0]
    return group, document["kind"], metadata.get("namespace") or "", metadata["name"]


def stub(document: Mapping[str, Any]) -> dict[str, Any]:
    """As much of an object as `kubectl delete -f -` needs."""
    metadata = {
        member: document["metadata"][member]
        for member in ("name", "namespace")
        if document["metadata"].get(member)
    }
    return {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": metadata,
    }


def without(
    documents: Iterable[Mapping[str, Any]], kept: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Stubs of the documents that are not among those kept."""
    keys = {key(document) for document in kept}
    return [stub(document) for document in documents if key(document) not in keys]
