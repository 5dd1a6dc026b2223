"""
Whether a service is there for the pods of every node.

A pod that is ready has its service a moment later: each node's proxy hears of it by itself. What
looks at that from within is a small pod on each node, outside of the mesh.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING

from lightkube.resources.core_v1 import Pod

from harness.cluster import pod_states
from harness.mesh import resources
from harness.waiting import until
from harness.workload import pods
from harness.workload.client import Workload
from harness.workload.control import WORKLOAD_PORT
from harness.workload.plans import Plan
from suites.namespaces import own_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster import Cluster

__all__ = ["Probes", "probing"]

_READY_S = 120.0
_REACHED_S = 60.0


@dataclasses.dataclass(frozen=True)
class Probes:
    """A pod on each node that can try a service."""

    pods: tuple[Workload, ...] = ()

    def until_reached(self, host: str) -> None:
        """
        Return when the service answers on its control port from every node.

        That port is nobody's but the harness's: the mesh neither sees nor forbids the call.

        Raises:
            NotInTime: it does not, from the node that is named.

        """
        plan = Plan(url=f"http://{host}:{WORKLOAD_PORT}/ready", deadline_s=5.0, brief=True)
        for pod in self.pods:
            until(
                lambda pod=pod: pod.one(plan),  # type: ignore[misc]
                what=f"service {host} answering {pod.name}",
                holds=lambda outcome: outcome.status == 200,
                timeout_s=_REACHED_S,
            )


@contextlib.contextmanager
def probing(cluster: Cluster) -> Iterator[Probes]:
    """Bring a probe up on every node of the cluster; gone at the end."""
    client = cluster.client()
    namespace = f"meshmark-probes-{os.getpid()}"
    roles = [
        pods.Role(f"probe-{number}", namespace, service_account="default", grace_s=1, node=node)
        for number, node in enumerate(cluster.nodes())
    ]
    with own_namespace(client, namespace):
        account = pods.service_account(pods.Role("default", namespace))
        resources.apply(client, [account, *(pods.pod(role) for role in roles)])
        pod_states.until_ready(
            lambda: list(client.list(Pod, namespace=namespace)),
            number=len(roles),
            what="a probe on every node ready",
            timeout_s=_READY_S,
            namespace=namespace,
        )
        yield Probes(tuple(Workload.of_pod(cluster, namespace, role.name) for role in roles))
