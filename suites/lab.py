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
from typing import TYPE_CHECKING

import httpx2
from lightkube.core.exceptions import ApiError

from harness.mesh import resources
from harness.mesh.protocol import MeshOptions
from harness.workload import pods
from suites.logbook import Logbook
from suites.member import Member
from suites.namespaces import own_namespace
from suites.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster import Cluster
    from harness.mesh.intents import Intent
    from harness.mesh.protocol import Enrolment, Mesh, Resource

__all__ = ["Lab", "Space"]


@dataclasses.dataclass(frozen=True)
class Lab:
    """
    A cluster with a mesh in it.

    options: what the mesh was installed with.
    logbook: errors and restarts of the pods that ended, to their last line.
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
                    if self.keep:
                        self.logbook.read(self.cluster, name)
                    else:
                        self.logbook.follow(self.cluster, name)


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
