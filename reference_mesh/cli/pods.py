"""HTTP to ports of pods, through the API server's pod proxy."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.kubernetes import path
from reference_mesh.errors import ClusterError, UsageError
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference_mesh.cli.kubernetes import Kubernetes

__all__ = ["admin_port", "destination_page", "named", "page", "running"]

_KINDS = {
    "daemonset": ("apps/v1", "daemonsets"),
    "deploy": ("apps/v1", "deployments"),
    "deployment": ("apps/v1", "deployments"),
    "ds": ("apps/v1", "daemonsets"),
    "job": ("batch/v1", "jobs"),
    "replicaset": ("apps/v1", "replicasets"),
    "rs": ("apps/v1", "replicasets"),
    "statefulset": ("apps/v1", "statefulsets"),
    "sts": ("apps/v1", "statefulsets"),
    "svc": ("v1", "services"),
    "service": ("v1", "services"),
}


def page(
    kubernetes: Kubernetes,
    namespace: str,
    pod: str,
    port: int,
    place: str,
    *,
    query: Mapping[str, str] | None = None,
) -> str:
    """
    Body of a page of a pod.

    Raises:
        ClusterError: the pod does not answer, or answers with an error; carries what it said.

    """
    address = path("v1", "pods", namespace, f"{pod}:{port}/proxy{place}")
    answer = kubernetes.ask("GET", address, params=query)
    if answer.is_success:
        return str(answer.text)
    said = ""
    with contextlib.suppress(ValueError):
        body = answer.json()
        if isinstance(body, dict):
            said = str(body.get("error") or body.get("message") or "")
    what = said or f"HTTP {answer.status_code} from {namespace}/{pod}:{port}{place}"
    raise ClusterError(what)


def destination_page(
    kubernetes: Kubernetes, namespace: str, place: str, query: Mapping[str, str]
) -> str:
    """
    Body of a page of the destination component.

    Raises:
        ClusterError: it does not run, or refuses.

    """
    selector = f"{names.COMPONENT}=destination"
    pods = running(kubernetes.items(path("v1", "pods", namespace), labelSelector=selector))
    if not pods:
        raise ClusterError(
            f"no pod of linkerd-destination runs in namespace {namespace}; run: refmesh check"
        )
    pod = pods[0]["metadata"]["name"]
    return page(kubernetes, namespace, pod, names.DESTINATION_ADMIN_PORT, place, query=query)


def named(kubernetes: Kubernetes, namespace: str, resource: str) -> list[dict[str, Any]]:
    """
    Running pods of `pod/x`, `deploy/x`, `svc/x` and their like; `x` alone is a pod.

    Raises:
        UsageError: the kind is unknown.
        ClusterError: there is no such object.

    """
    kind, slash, name = resource.partition("/")
    if not slash:
        kind, name = "pod", resource
    if kind.lower() in {"pod", "pods", "po"}:
        return [kubernetes.get(path("v1", "pods", namespace, name))]
    place = _KINDS.get(kind.lower()) or _KINDS.get(kind.lower().removesuffix("s"))
    if place is None:
        known = ", ".join(sorted({"pod", *_KINDS}))
        raise UsageError(f"{resource}: unknown kind; expected one of {known}")
    owner = kubernetes.get(path(*place, namespace, name))
    selector = _selector(owner)
    pods = kubernetes.items(path("v1", "pods", namespace), labelSelector=selector)
    return running(pods)


def admin_port(pod: Mapping[str, Any]) -> int:
    """Where the proxy of a pod tells of itself: annotations may have put it elsewhere."""
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in container.get("ports") or ():
            if (
                container["name"] == names.PROXY_CONTAINER
                and port.get("name") == names.ADMIN_PORT_NAME
            ):
                return int(port["containerPort"])
    return names.ADMIN_PORT


def running(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the pods that run."""
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]


def _selector(owner: Mapping[str, Any]) -> str:
    chosen = owner["spec"].get("selector") or {}
    labels = chosen.get("matchLabels", {}) if "matchLabels" in chosen else chosen
    if not labels or "matchExpressions" in chosen:
        raise ClusterError(f"{owner['metadata']['name']}: it selects no pods by labels")
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
