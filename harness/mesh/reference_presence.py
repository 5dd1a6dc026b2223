"""What of Linkerd, or of the reference mesh, a cluster has: they share names and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.core.exceptions import ApiError
from lightkube.resources.admissionregistration_v1 import (
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
)
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.core_v1 import Namespace
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding

from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lightkube

__all__ = ["present"]

_GROUPS = ("linkerd.io", "flagger.app", "split.smi-spec.io")
"""Of the definitions that are installed; some of them are shared with other projects."""

_CLUSTER_WIDE = (
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
    ClusterRole,
    ClusterRoleBinding,
)


def present(client: lightkube.Client, namespace: str) -> list[str]:
    """
    Kind and name of all that installing would write over or uninstalling would delete.

    Also custom resource definitions alone count: those of another control plane, or of another
    version, are others' and go with all the objects of their kind when they are deleted.

    namespace: of the control plane.

    Raises:
        ClusterError: the API does not let us look.

    """
    try:
        return list(_found(client, namespace))
    except ApiError as error:
        raise ClusterError(f"look for a mesh on the cluster: {error.status.message}") from error


def _found(client: lightkube.Client, namespace: str) -> Iterator[str]:
    yield from (f"Namespace {_name(n)}" for n in client.list(Namespace) if _name(n) == namespace)
    for definition in client.list(CustomResourceDefinition):
        if f".{definition.spec.group}".endswith(tuple(f".{group}" for group in _GROUPS)):
            yield f"CustomResourceDefinition {_name(definition)}"
    labels: Any = {"linkerd.io/control-plane-ns": namespace}
    for kind in _CLUSTER_WIDE:
        yield from (f"{kind.__name__} {_name(each)}" for each in client.list(kind, labels=labels))


def _name(found: Any) -> str:
    return found.metadata.name or ""
