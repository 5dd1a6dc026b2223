"""Which fields a client may select objects by: few, and each kind its own, as in Kubernetes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.cluster.embedded.status import BadRequest

if TYPE_CHECKING:
    from harness.cluster.embedded.resources import Resource

__all__ = ["require_selectable"]

_OF_ALL = frozenset({"metadata.name", "metadata.namespace"})
_OF_SOME = {
    ("", "pods"): (
        "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName "
        "spec.hostNetwork status.phase status.podIP status.podIPs status.nominatedNodeName"
    ),
    ("", "events"): (
        "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
        "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath "
        "reason reportingComponent source type"
    ),
    ("", "namespaces"): "status.phase name",
    ("", "nodes"): "spec.unschedulable",
    ("", "secrets"): "type",
    ("", "services"): "spec.clusterIP spec.type",
    ("apps", "replicasets"): "status.replicas",
    ("batch", "jobs"): "status.successful",
}


def require_selectable(resource: Resource, selector: str | None) -> None:
    """
    Check that a field selector names only what this kind can be selected by.

    Raises:
        BadRequest: it names another field.

    """
    known = _OF_ALL | set(_OF_SOME.get(resource.key, "").split())
    for term in filter(None, (selector or "").split(",")):
        field = re.split(r"!?=", term, maxsplit=1)[0].strip()
        if field not in known:
            raise BadRequest(f"field label not supported: {field}")
