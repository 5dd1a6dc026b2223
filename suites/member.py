"""One workload of a space, as a check talks to it: its pods, their parts, and their service."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NoReturn

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod, Service

from harness.cluster import pod_states
from harness.errors import ClusterError, MeshError
from harness.workload import pods
from harness.workload.client import Workload
from harness.workload.helper import Helper

if TYPE_CHECKING:
    from harness.mesh.protocol import Telemetry
    from harness.workload.records import Attempt
    from suites.lab import Space

__all__ = ["Member"]

_READY_S = 60.0
_LOG_TAIL_LINES = 20


@dataclasses.dataclass(frozen=True)
class Member:
    """One workload of a space: its pods and the service in front of them."""

    space: Space
    role: pods.Role
    replicas: int
    service: bool = False
    meshed: bool = False

    @property
    def identity(self) -> str:
        """The name that the mesh gives to its pods."""
        return self.space.lab.mesh.identity(self.space.name, self.role.account)

    @property
    def host(self) -> str:
        """The full name of its service."""
        return f"{self.role.name}.{self.space.name}.svc.cluster.local"

    def url(self, path: str = "/", port: int = pods.HTTP_PORT) -> str:
        """An HTTP URL by the name of its service."""
        return f"http://{self.host}:{port}{path}"

    @property
    def app(self) -> Workload:
        """The application of its first pod."""
        return self.instance(self.pod_names()[0])

    @property
    def apps(self) -> dict[str, Workload]:
        """The application of every pod, by pod name."""
        return {name: self.instance(name) for name in self.pod_names()}

    @property
    def helper(self) -> Helper:
        """The helper of its first pod."""
        return Helper.of_pod(self.space.lab.cluster, self.space.name, self.pod_names()[0])

    def instance(self, pod: str) -> Workload:
        """The application of one pod."""
        return Workload.of_pod(self.space.lab.cluster, self.space.name, pod)

    def pods(self) -> list[Pod]:
        """Its pods that are not going away, by name."""
        found = self.space.lab.cluster.client().list(
            Pod, namespace=self.space.name, labels=dict(self.role.selector)
        )
        alive = [pod for pod in found if pod.metadata and not pod.metadata.deletionTimestamp]
        return sorted(alive, key=_name)

    def pod_names(self) -> list[str]:
        """Names of its pods that are not going away."""
        return [_name(pod) for pod in self.pods()]

    def address(self) -> str:
        """The address of its first pod."""
        return (self.pods()[0].status or _no_status()).podIP or ""

    def node(self) -> str:
        """The node of its first pod."""
        return (self.pods()[0].spec or _no_status()).nodeName or ""

    def cluster_ip(self) -> str:
        """The virtual address of its service."""
        service = self.space.lab.cluster.client().get(
            Service, self.role.name, namespace=self.space.name
        )
        return (service.spec.clusterIP if service.spec else None) or ""

    def ready(self, *, timeout_s: float = _READY_S) -> Member:
        """
        Return when as many pods as asked for are ready, and their service is there for others.

        Raises:
            PodFailed: a pod ended for good, or can never start.
            MeshError: a pod that was enrolled came up without a sidecar.
            NotInTime: not all were ready within `timeout_s`.
            EnvironmentLacks: so it was, and nodes lack an image.

        """
        pod_states.until_ready(
            self.pods,
            number=self.replicas,
            what=f"{self.replicas} pods of {self.space.name}/{self.role.name} ready",
            timeout_s=timeout_s,
            namespace=self.space.name,
            log=self.log,
        )
        self._require_sidecars()
        if self.service and self.replicas:
            self.space.lab.probes.until_reached(self.host)
        return self

    def _require_sidecars(self) -> None:
        """An injector that cannot be called lets pods start without: no mesh is seen then."""
        sidecar = self.space.lab.mesh.sidecar
        if sidecar is None or not self.meshed:
            return
        for pod in self.pods():
            spec = pod.to_dict()["spec"]
            containers = [*spec.get("initContainers", []), *spec["containers"]]
            if not any(each["name"] == sidecar.container for each in containers):
                raise MeshError(
                    f"pod {self.space.name}/{_name(pod)} was enrolled and runs without container "
                    f"{sidecar.container}: the mesh did not inject it, or the API server could not "
                    "call its injector; look at the logs of both"
                )

    def log(self, pod: str | None = None, container: str = "app") -> str:
        """The last lines of a container's log."""
        name = pod or self.pod_names()[0]
        try:
            lines = self.space.lab.cluster.logs(self.space.name, name, container).splitlines()
        except (ClusterError, ApiError, httpx2.HTTPError) as error:
            return f"(no log: {error})"
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def sidecar_log(self, pod: str | None = None) -> str:
        """All of the sidecar's log."""
        sidecar = self.space.lab.mesh.sidecar
        assert sidecar is not None
        name = pod or self.pod_names()[0]
        return self.space.lab.cluster.logs(self.space.name, name, sidecar.container)

    def metrics(self, pod: str | None = None) -> str:
        """What the sidecar's admin port says of itself, as Prometheus text."""
        sidecar = self.space.lab.mesh.sidecar
        assert sidecar is not None
        name = pod or self.pod_names()[0]
        with self.space.lab.cluster.pod_http(self.space.name, name, sidecar.admin_port) as http:
            answer = http.get("metrics", timeout=10.0)
        if answer.status_code != 200:
            raise ClusterError(
                f"metrics of pod {self.space.name}/{name}: {answer.status_code} {answer.text[:300]}"
            )
        return answer.text

    def telemetry(self, pod: str | None = None) -> Telemetry:
        """What the sidecar counted."""
        return self.space.lab.mesh.telemetry(self.metrics(pod))

    def told(self, attempt: Attempt) -> tuple[str, ...]:
        """By which names its application was told who called: the mesh's fields, in order."""
        names = self.space.lab.mesh.identity_headers
        return tuple(value for name, value in attempt.headers if name.lower() in names)

    def delete(self, pod: str | None = None) -> None:
        """Delete one pod, as `kubectl delete pod` does."""
        lab, name = self.space.lab, pod or self.pod_names()[0]
        lab.logbook.follow(lab.cluster, self.space.name, {name})
        lab.cluster.client().delete(Pod, name, namespace=self.space.name)


def _name(pod: Pod) -> str:
    assert pod.metadata is not None
    return pod.metadata.name or ""


def _no_status() -> NoReturn:
    raise ClusterError("the pod has no status yet")
