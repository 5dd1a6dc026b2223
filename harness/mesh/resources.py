"""Applying and removing manifests, as `kubectl apply` and `kubectl delete` would."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import httpx2
import yaml
from lightkube import codecs
from lightkube.core.exceptions import ApiError, LoadResourceError
from lightkube.core.resource_registry import resource_registry
from lightkube.generic_resource import load_in_cluster_generic_resources

from harness.cluster import pod_states
from harness.errors import ClusterError
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    import lightkube
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import Pod

    from harness.cluster import Cluster
    from harness.mesh.protocol import Resource

__all__ = ["apply", "deployments_available", "documents", "remove", "restart", "scale"]

_FIELD_MANAGER = "meshmark"


def documents(text: str) -> list[Resource]:
    """The objects of a YAML stream, in their order, without the empty ones."""
    return [document for document in yaml.safe_load_all(text) if document]


def apply(client: lightkube.Client, resources: Iterable[Resource]) -> None:
    """
    Make the cluster hold `resources`, by server-side apply, in their order.

    Raises:
        ClusterError: the API refused one; the message names the object.

    """
    for resource in resources:
        _call(client.apply, client, resource, field_manager=_FIELD_MANAGER, force=True)


def remove(client: lightkube.Client, resources: Iterable[Resource]) -> None:
    """Delete `resources`, last first; one that is gone already is no error."""
    for resource in reversed(list(resources)):
        # Only the type: what is listed for deletion may be no more than a kind and a name.
        kind = _type(client, resource)
        try:
            namespace = resource["metadata"].get("namespace")
            client.delete(kind, resource["metadata"]["name"], namespace=namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise ClusterError(f"delete {_called(resource)}: {error.status.message}") from error


def deployments_available(
    cluster: Cluster, namespace: str, names: Iterable[str], *, timeout_s: float = 90.0
) -> None:
    """
    Return when every named deployment runs the generation that was applied last, all of it.

    Raises:
        PodFailed: one of its pods can never start; at once.
        NotInTime: not within `timeout_s`; tells what each pod waited for.
        EnvironmentLacks: so it was, and nodes lack an image.

    """
    from lightkube.resources.apps_v1 import Deployment  # noqa: PLC0415 - 50 ms, not for --help

    client = cluster.client()
    held: list[Pod] = []

    def waiting_for() -> list[str]:
        late = []
        held.clear()
        for name in names:
            deployment = client.get(Deployment, name, namespace=namespace)
            if missing := _missing(deployment):
                late.append(missing)
                held.extend(_unready(client, deployment))
        return [*late, *(f"pod {_name(pod)}: {pod_states.state(pod)}" for pod in held)]

    with pod_states.image_lack_told(held):
        until(
            waiting_for,
            what=f"deployments of namespace {namespace} available",
            holds=lambda late: not late,
            timeout_s=timeout_s,
            hint=lambda: (
                f"Look at the pods: kubectl -n {namespace} describe pods{pod_states.advice(held)}"
            ),
        )


def scale(client: lightkube.Client, namespace: str, name: str, replicas: int) -> int:
    """Set how many pods a deployment wants, as `kubectl scale` does; returns how many it wanted."""
    from lightkube.models.autoscaling_v1 import ScaleSpec  # noqa: PLC0415 - as above
    from lightkube.models.meta_v1 import ObjectMeta  # noqa: PLC0415
    from lightkube.resources.apps_v1 import Deployment  # noqa: PLC0415

    before = client.get(Deployment.Scale, name, namespace=namespace)
    wanted = Deployment.Scale(
        metadata=ObjectMeta(name=name, namespace=namespace), spec=ScaleSpec(replicas=replicas)
    )
    client.replace(wanted, name, namespace=namespace)
    return (before.spec.replicas if before.spec else None) or 0


def restart(client: lightkube.Client, namespace: str, name: str) -> None:
    """Have a deployment replace all its pods, as `kubectl rollout restart` does."""
    from lightkube.resources.apps_v1 import Deployment  # noqa: PLC0415 - as above

    stamp = dt.datetime.now(dt.UTC).isoformat()
    template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": stamp}}}
    client.patch(Deployment, name, {"spec": {"template": template}}, namespace=namespace)


def _missing(deployment: Deployment) -> str:
    """What a deployment has not got of the pods that it wants; empty when it has all."""
    assert deployment.spec is not None
    wanted = 1 if deployment.spec.replicas is None else deployment.spec.replicas
    status = deployment.status
    ready = (status.availableReplicas or 0) if status else 0
    updated = (status.updatedReplicas or 0) if status else 0
    total = (status.replicas or 0) if status else 0
    if _is_seen(deployment) and {ready, updated, total} == {wanted}:
        return ""
    return f"{_name(deployment)}: {ready} of {wanted} available, {updated} updated"


def _unready(client: lightkube.Client, deployment: Deployment) -> list[Pod]:
    """Its pods that are not ready; raises PodFailed when that is for good."""
    from lightkube.resources.core_v1 import Pod  # noqa: PLC0415 - as above

    assert deployment.spec is not None
    assert deployment.metadata is not None
    labels: Any = deployment.spec.selector.matchLabels
    found = client.list(Pod, namespace=deployment.metadata.namespace, labels=labels)
    unready = [
        pod
        for pod in found
        if pod.metadata
        and not pod.metadata.deletionTimestamp
        and pod_states.state(pod) != pod_states.READY
    ]
    status = deployment.status
    if _is_seen(deployment) and status and status.updatedReplicas == status.replicas:
        pod_states.require_hope(unready)  # otherwise it may be of a generation that is replaced
    return unready


def _is_seen(deployment: Deployment) -> bool:
    """Whether its status is about what was applied last."""
    seen = (deployment.status and deployment.status.observedGeneration) or 0
    return seen >= ((deployment.metadata and deployment.metadata.generation) or 0)


def _name(found: Deployment | Pod) -> str:
    return (found.metadata and found.metadata.name) or ""


def _call(method: Any, client: lightkube.Client, resource: Resource, **arguments: Any) -> Any:
    try:
        return method(_typed(client, resource), **arguments)
    except ApiError as error:
        raise ClusterError(f"apply {_called(resource)}: {error.status.message}") from error
    except httpx2.HTTPError as error:
        raise ClusterError(f"apply {_called(resource)}: {type(error).__name__}: {error}") from error


def _typed(client: lightkube.Client, resource: Resource) -> Any:
    """The object as lightkube's type."""
    _type(client, resource)
    return codecs.from_dict(resource)


def _type(client: lightkube.Client, resource: Resource) -> Any:
    """The lightkube type of an object; custom ones not yet known are looked up in the cluster."""
    version, kind = resource.get("apiVersion", ""), resource.get("kind", "")
    try:
        return resource_registry.load(version, kind)
    except LoadResourceError:
        load_in_cluster_generic_resources(client)
    try:
        return resource_registry.load(version, kind)
    except LoadResourceError as error:
        raise ClusterError(
            f"apply {_called(resource)}: the cluster knows no {kind} in {version}. "
            "Install its CustomResourceDefinition first."
        ) from error


def _called(resource: Resource) -> str:
    metadata = resource.get("metadata", {})
    place = f" in namespace {metadata['namespace']}" if metadata.get("namespace") else ""
    return f"{resource.get('kind')} {metadata.get('name')}{place}"
