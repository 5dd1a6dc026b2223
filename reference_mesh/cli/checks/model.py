"""What a check is, what it can say, and what checks share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from reference_mesh.cli import installed
from reference_mesh.cli.kubernetes import Kubernetes, path
from reference_mesh.errors import ClusterError, RefmeshError
from reference_mesh.manifests import names, overrides

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_mesh.manifests.values import Values

__all__ = ["Category", "Check", "Facts", "Failed", "Result", "Warned", "pod_problem", "proxy_of"]


class Failed(RefmeshError):
    """What a check found is wrong; the message is shown under its line."""


class Warned(RefmeshError):
    """What a check found works, but should not stay so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One line of the report.

    run: returns when it holds; raises Warned, or any other RefmeshError, when it does not.
    fatal: nothing after it can be told when it fails.
    patient: may come true by waiting, as pods become ready.
    """

    description: str
    run: Callable[[], object]
    hint: str = ""
    fatal: bool = False
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Category:
    """Checks under one heading."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a check."""

    category: str
    description: str
    result: Literal["success", "warning", "error"]
    error: str = ""
    hint: str = ""


@dataclass(slots=True)
class Facts:
    """What checks ask of. The cluster is set once it was reached, by the first check."""

    connect: Callable[[], Kubernetes]
    namespace: str
    data_plane_ns: str | None = None
    _kubernetes: Kubernetes | None = field(default=None, init=False)

    @property
    def kubernetes(self) -> Kubernetes:
        """The cluster."""
        if self._kubernetes is None:
            self._kubernetes = self.connect()
        return self._kubernetes

    def control_plane(self, plural: str, name: str, api_version: str = "v1") -> dict[str, Any]:
        """
        One object of the control plane.

        Raises:
            Failed: there is none.

        """
        found = self.kubernetes.find(path(api_version, plural, self.namespace, name))
        if found is None:
            raise Failed(f'{plural} "{name}" not found in namespace {self.namespace}')
        return found

    def values(self) -> Values:
        """
        What the installation was made with.

        Raises:
            Failed: it is not stored.
            InvalidInput: it is damaged.

        """
        data = installed.data_of(self.control_plane("secrets", names.OVERRIDES))
        kept = overrides.load(data.get(names.OVERRIDES, ""), f"Secret {names.OVERRIDES}")
        return overrides.combine(kept)[0]

    def control_plane_pods(self) -> list[dict[str, Any]]:
        """Pods of the control plane that have not ended, nor been told to."""
        address = path("v1", "pods", self.namespace)
        pods = self.kubernetes.items(address, labelSelector=names.COMPONENT)
        return [pod for pod in pods if _is_to_run(pod)]

    def meshed_pods(self) -> list[dict[str, Any]]:
        """Pods in the mesh outside the control plane that have not ended, nor been told to."""
        address = path("v1", "pods", self.data_plane_ns)
        selector = f"{names.CONTROL_PLANE_NS}={self.namespace},!{names.COMPONENT}"
        pods = self.kubernetes.items(address, labelSelector=selector)
        return [pod for pod in pods if _is_to_run(pod)]

    def now(self) -> str:
        """Time by the API server's clock, in HTTP's form; empty when it does not tell."""
        answer = self.kubernetes.ask("GET", "/version")
        if not answer.is_success:
            raise ClusterError(f"/version: HTTP {answer.status_code}")
        return str(answer.headers.get("date", ""))


def pod_problem(pod: dict[str, Any], container: str | None = None) -> str:
    """Why a pod (or one container of it) is not ready; empty when it is."""
    status = pod.get("status") or {}
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    if container is not None:
        statuses = [item for item in statuses if item["name"] == container]
        if any(item.get("ready") for item in statuses):
            return ""
    elif any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    ):
        return ""
    for item in statuses:
        waiting = (item.get("state") or {}).get("waiting")
        if waiting:
            return f"{name}: container {item['name']} waits: {waiting.get('reason', 'unknown')}"
    return f"{name}: {status.get('phase', 'Unknown')}, not ready"


def proxy_of(pod: dict[str, Any]) -> dict[str, Any] | None:
    """The sidecar in a pod's spec, native or not."""
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container["name"] == names.PROXY_CONTAINER:
            return dict(container)
    return None


def _is_to_run(pod: dict[str, Any]) -> bool:
    """A pod on its way out is of the version that was, and less ready by the second."""
    ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    return not ended and "deletionTimestamp" not in pod["metadata"]
