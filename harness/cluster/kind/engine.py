"""A cluster of the `kind` program: real Kubernetes, with a container of Docker as each node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Node, Pod

from harness.cluster.api_cluster import ApiCluster
from harness.cluster.kind import loading, nodes, processes
from harness.cluster.kind.program import docker
from harness.errors import ClusterError, NotInTime
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightkube.models.core_v1 import NodeCondition, PodCondition

    from harness.cluster.model import Image, ProcessFacts

__all__ = ["KindCluster"]

_NODE_READY_S = 120.0
"""Four times what a node takes on two cores, from its start to the first word of its kubelet."""


class KindCluster(ApiCluster):
    """A cluster of the `kind` program on this machine."""

    engine = "kind"

    def load_images(self, images: Sequence[Image]) -> None:
        """
        Bring images to every node that does not have them as they are now.

        Raises:
            ClusterError: a file of an image does not exist, or a node did not take it.
            EnvironmentLacks: the machine lacks what the images are made with, or space.

        """
        loading.load(self.name, list(nodes.ids(self.name)), images)

    def processes(self, namespace: str, pod: str) -> list[ProcessFacts]:
        """
        Facts on every process of the pod, numbered as on its node.

        Raises:
            ClusterError: there is no such pod, or it does not run.

        """
        try:
            found = self.client().get(Pod, pod, namespace=namespace)
        except ApiError as error:
            raise ClusterError(f"processes of {namespace}/{pod}: {error.status.message}") from error
        containers, node = _container_ids(found), found.spec and found.spec.nodeName
        if not containers or not node:
            raise ClusterError(f"processes of {namespace}/{pod}: none of its containers runs")
        said = docker("exec", node, "sh", "-c", processes.script(containers))
        return processes.facts(said, containers)

    def stop_node(self, node: str) -> None:
        """Take the power from a node; returns when it is off."""
        docker("kill", node)

    def start_node(self, node: str) -> None:
        """Give a node its power back; returns when Kubernetes calls it ready."""
        since = self._heartbeats().get(node)
        docker("start", node)
        self._until_heard(node, since)

    def restart_kubelet(self, node: str) -> None:
        """Restart the agent of a node under its pods; returns when the node is ready again."""
        since = self._heartbeats().get(node)
        docker("exec", node, "systemctl", "restart", "kubelet")
        self._until_heard(node, since)

    def ready(self, timeout_s: float) -> None:
        """
        Return when every node takes pods and names of services can resolve.

        Raises:
            NotInTime: it took longer; the message ends with what the nodes said.

        """
        try:
            until(self._late, what=f"kind cluster {self.name} ready", timeout_s=timeout_s,
                  holds=lambda late: not late)  # fmt: skip
        except NotInTime as error:
            raise NotInTime(f"{error}\n{nodes.last_words(self.name)}") from None

    def silence(self) -> str:
        """What Docker knows of nodes whose API server does not answer."""
        if not nodes.ids(self.name):
            return "its nodes are gone: someone deleted them. Run this again"
        stopped = "; ".join(nodes.stopped(self.name)) or "all its nodes run"
        inside = f"docker exec {self.name}-control-plane"
        return (
            f"{stopped}. Run this again; with --keep the nodes stay, and `{inside} crictl ps -a` "
            f"and `{inside} journalctl -u kubelet` tell more"
        )

    def _late(self) -> list[str]:
        client = self.client()
        try:
            late = [_name(node) for node in client.list(Node) if not _ready(node)]
            dns = list(client.list(Pod, namespace="kube-system", labels={"k8s-app": "kube-dns"}))
        except (ApiError, httpx2.HTTPError) as error:
            return [f"the API server: {error}"]
        return late + ([] if any(_ready(pod) for pod in dns) else ["the cluster's DNS"])

    def _heartbeats(self) -> dict[str, object]:
        """When each node that is ready last said so."""
        return {
            _name(node): condition.lastHeartbeatTime
            for node in self.client().list(Node)
            for condition in (node.status and node.status.conditions) or ()
            if condition.type == "Ready" and condition.status == "True"
        }

    def _until_heard(self, node: str, since: object) -> None:
        until(
            lambda: self._heartbeats().get(node),
            what=f"node {node} of kind cluster {self.name} ready",
            holds=lambda heard: heard not in (None, since),
            timeout_s=_NODE_READY_S,
            hint=f"Look at its agent: docker exec {node} journalctl -u kubelet",
        )


def _container_ids(pod: Pod) -> dict[str, str]:
    """Name of each container that runs by the id that containerd gave it."""
    if pod.status is None:
        return {}
    listed = [*(pod.status.initContainerStatuses or ()), *(pod.status.containerStatuses or ())]
    running = [each for each in listed if each.state and each.state.running]
    return {(each.containerID or "").rpartition("/")[2]: each.name for each in running}


def _name(node: Node) -> str:
    return (node.metadata.name if node.metadata else None) or ""


def _conditions(found: Node | Pod) -> Sequence[NodeCondition | PodCondition]:
    return (found.status and found.status.conditions) or ()


def _ready(found: Node | Pod) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in _conditions(found))
