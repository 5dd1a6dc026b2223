"""
Where a check brings workloads up: namespaces, the pods in them, and the ways to reach those.

    with lab.space("tls-01") as space:
        server = space.deploy("server", helper=True)
        client = space.deploy("client")
        outcome = client.app.one(Plan(url=server.url()))

Everything that a space holds goes with its namespace. Pods of one space are brought up together by
`deploy` and waited for by `ready`, so that a check pays for the slowest only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING, NoReturn

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod, Service

from harness.cluster import pod_states
from harness.errors import ClusterError, MeshError
from harness.mesh import resources
from harness.mesh.protocol import MeshOptions
from harness.workload import pods
from harness.workload.client import Workload
from harness.workload.helper import Helper
from suites.logbook import Logbook
from suites.namespaces import own_namespace
from suites.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster import Cluster
    from harness.mesh.intents import Intent
    from harness.mesh.protocol import Enrolment, Mesh, Resource, Telemetry

__all__ = ["Lab", "Member", "Space"]

_READY_S = 60.0
_LOG_TAIL_LINES = 20


@dataclasses.dataclass(frozen=True)
class Lab:
    """
    A cluster with a mesh in it.

    options: what the mesh was installed with.
    logbook: errors and restarts of the pods in spaces that are gone.
    keep: leave the spaces up in the end, for someone to look at.
    probes: what sees that a service is there on every node.
    """

    cluster: Cluster
    mesh: Mesh
    options: MeshOptions = MeshOptions()  # noqa: RUF009 - frozen
    logbook: Logbook = dataclasses.field(default_factory=Logbook, compare=False)
    keep: bool = False
    probes: Probes = dataclasses.field(default_factory=Probes, compare=False)

    @contextlib.contextmanager
    def space(self, name: str) -> Iterator[Space]:
        """
        Make a namespace for one check, prepared for the mesh; deleted in the end unless kept.

        Raises:
            ClusterError: somebody else has a namespace of this name.

        """
        name = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
        client = self.cluster.client()
        with own_namespace(client, name, keep=self.keep):
            try:
                resources.apply(client, self.mesh.prepare(name))
                yield Space(self, name)
            finally:
                with contextlib.suppress(ApiError, httpx2.HTTPError):
                    self.logbook.read(self.cluster, name)


@dataclasses.dataclass(frozen=True)
class Space:
    """One namespace of the lab."""

    lab: Lab
    name: str

    def deploy(
        self,
        name: str,
        *,
        meshed: bool = True,
        enrolment: Enrolment | None = None,
        impostor: bool = False,
        replicas: int | None = None,
        helper: bool = False,
        service_account: str | None = None,
        service: bool = True,
        arguments: tuple[str, ...] = (),
        ports: tuple[int, ...] = (),
        annotations: dict[str, str] | None = None,
        node: str | None = None,
        liveness_path: str = "",
        wait: bool = True,
    ) -> Member:
        """
        Bring a workload up, as a bare pod, or as a Deployment when `replicas` is given.

        impostor: peers take it for a member of the mesh, though no sidecar runs in it.
        liveness_path: of a probe at the HTTP port; none when empty.
        helper: with the container that captures packets, plays rogue peers and sends signals.
        node: the one that its pods run on; None leaves that to the cluster.
        wait: return when all its pods are ready.
        """
        role = pods.Role(
            name=name,
            namespace=self.name,
            service_account=service_account,
            helper=helper,
            arguments=arguments,
            ports=ports,
            annotations=annotations or {},
            node=node,
            liveness_path=liveness_path,
        )
        made = [pods.service_account(role)]
        if service:
            front = pods.service(role)
            made.append(self.lab.mesh.expose(front, enrolment) if meshed else front)
        made.append(self._workload(role, replicas, meshed, enrolment, impostor))
        resources.apply(self.lab.cluster.client(), made)
        enrolled = meshed and not impostor
        member = Member(self, role, replicas or 1, service, enrolled)
        if wait:
            member.ready()
        return member

    def _workload(
        self,
        role: pods.Role,
        replicas: int | None,
        meshed: bool,
        enrolment: Enrolment | None,
        impostor: bool,
    ) -> Resource:
        manifest = pods.pod(role) if replicas is None else pods.deployment(role, replicas=replicas)
        template = manifest if replicas is None else manifest["spec"]["template"]
        if impostor:
            template = self.lab.mesh.impersonate(template)
        elif meshed:
            template = self.lab.mesh.enroll(template, enrolment)
        if replicas is None:
            return template
        manifest["spec"]["template"] = template
        return manifest

    def apply(self, *intents: Intent) -> list[Resource]:
        """Have the mesh do what the intents say; returns what was applied."""
        made = [resource for intent in intents for resource in self.lab.mesh.express(intent)]
        resources.apply(self.lab.cluster.client(), made)
        return made

    def withdraw(self, made: list[Resource]) -> None:
        """Take back what `apply` returned."""
        resources.remove(self.lab.cluster.client(), made)


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

    def delete(self, pod: str | None = None) -> None:
        """Delete one pod, as `kubectl delete pod` does."""
        client = self.space.lab.cluster.client()
        client.delete(Pod, pod or self.pod_names()[0], namespace=self.space.name)


def _name(pod: Pod) -> str:
    assert pod.metadata is not None
    return pod.metadata.name or ""


def _no_status() -> NoReturn:
    raise ClusterError("the pod has no status yet")
