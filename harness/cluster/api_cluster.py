"""
A cluster by nothing but its kubeconfig: what all engines have in common.

Clients are httpx2 underneath, with the connection facts (server, CA, credentials) read by
lightkube from the kubeconfig.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import httpx2
import lightkube
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError
from msgspec import MsgspecError
from yaml import YAMLError

from harness.cluster.followed import FollowedLog
from harness.errors import ClusterError, EnvironmentLacks, NotInTime, UsageError
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lightkube.resources.core_v1 import Node

    from harness.cluster.model import Image, ProcessFacts

__all__ = ["ApiCluster", "message"]

_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
"""
Each piece of an answer must come within this time. A write waits for every webhook that does not
answer, and each may take up to 30 s.
"""

_ANSWERS_S = 20.0
"""kube-apiserver calls itself not ready while etcd is slow, which on a busy disk takes seconds."""


class ApiCluster:
    """A `Cluster` whose engine offers nothing beyond Kubernetes. Others derive from it."""

    engine = "external"

    def __init__(self, name: str, kubeconfig: Path, context: str | None = None) -> None:
        self.name = name
        self.kubeconfig = kubeconfig.absolute()
        self.context = context
        self._client: lightkube.Client | None = None
        self._logs: httpx2.Client | None = None
        self._lock = threading.Lock()

    def client(self) -> lightkube.Client:
        """The one client of this cluster's API, made when first asked for."""
        with self._lock:
            if self._client is None:
                self._client = lightkube.Client(
                    self._config(),
                    field_manager="meshmark",
                    trust_env=self._is_far,
                    timeout=_TIMEOUT,
                )
            return self._client

    def close(self) -> None:
        """Close the client's connections; the cluster itself goes on."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
            if self._logs is not None:
                self._logs.close()
                self._logs = None

    def load_images(self, images: Sequence[Image]) -> None:
        """Nothing: the nodes have them under these names, or pull them when a pod asks."""

    def pod_http(self, namespace: str, pod: str, port: int) -> httpx2.Client:
        """An HTTP client for one port of a pod, through the API server's pod proxy."""
        return self.api_http(f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy")

    def api_http(self, path: str = "") -> httpx2.Client:
        """An HTTP client with the API's credentials whose base URL is `path` of the API."""
        parameters = ConnectionParams(timeout=_TIMEOUT, trust_env=self._is_far)
        facts = parameters.httpx_params(self._config())
        facts["base_url"] = facts["base_url"].rstrip("/") + path
        return httpx2.Client(**facts)

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        """
        All that is kept of a container's output, also when it is dead.

        Raises:
            ClusterError: the container has not started, or does not exist.

        """
        asked = {"container": container, "previous": str(previous).lower()}
        answer = self._logs_http().get(_log_path(namespace, pod), params=asked)
        _require_log(answer, namespace, pod, container)
        return answer.content.decode(errors="replace")

    @contextlib.contextmanager
    def following(self, namespace: str, pod: str, container: str) -> Iterator[FollowedLog]:
        """
        What is kept of a container's output, and what it writes until it ends.

        Raises:
            ClusterError: the container has not started, or does not exist.

        """
        asked = {"container": container, "follow": "true"}
        path = _log_path(namespace, pod)
        with self._logs_http().stream("GET", path, params=asked) as answer:
            if answer.status_code != httpx2.codes.OK:
                answer.read()
            _require_log(answer, namespace, pod, container)
            yield FollowedLog(answer)

    def processes(self, namespace: str, pod: str) -> list[ProcessFacts]:
        """
        Say that this engine does not show processes.

        Raises:
            EnvironmentLacks: always.

        """
        raise EnvironmentLacks(
            f"processes of {namespace}/{pod}: the {self.engine} engine cannot see the processes of "
            "its nodes; measure memory on the embedded engine"
        )

    def nodes(self) -> list[str]:
        """Names of the nodes that pods are placed on."""
        from lightkube.resources.core_v1 import Node  # noqa: PLC0415 - 50 ms, not for --help

        return sorted(_name(node) for node in self.client().list(Node) if not _closed(node))

    def stop_node(self, node: str) -> None:
        """
        Say that this engine does not switch its nodes off; likewise the two below.

        Raises:
            EnvironmentLacks: always.

        """
        raise self._no_control(f"stop node {node}")

    def start_node(self, node: str) -> None:
        """As `stop_node`."""
        raise self._no_control(f"start node {node}")

    def restart_kubelet(self, node: str) -> None:
        """As `stop_node`."""
        raise self._no_control(f"restart the kubelet of node {node}")

    def require_answer(self) -> None:
        """
        Make sure that the API server answers; on a busy machine it may be late.

        Raises:
            ClusterError: it does not; says what is known of that, and what to do.

        """
        try:
            until(
                self._silent,
                what=f"the API server of {self.engine} cluster {self.name} answers",
                holds=lambda why: not why,
                timeout_s=_ANSWERS_S,
                interval_s=0.5,
            )
        except NotInTime as error:
            raise ClusterError(
                f"the API server of {self.engine} cluster {self.name} does not answer, for "
                f"{_ANSWERS_S:g} s ({self._silent()}); {self.silence()}"
            ) from error

    def silence(self) -> str:
        """What else is known of a cluster that does not answer, and what to do."""
        context = f" --context {self.context}" if self.context else ""
        return f"look at it with `kubectl --kubeconfig {self.kubeconfig}{context} cluster-info`"

    @property
    def _is_far(self) -> bool:
        """Whether proxies of the environment are heeded; never for a cluster made here."""
        return self.engine == "external"

    def _silent(self) -> str:
        """Why the API server cannot be used; empty when it can."""
        try:
            with self.api_http() as api:
                answer = api.get("/readyz")
        except httpx2.HTTPError as error:
            return str(error) or type(error).__name__
        return "" if answer.is_success else f"HTTP {answer.status_code}, not ready"

    def _logs_http(self) -> httpx2.Client:
        """The one client for logs: making one costs more than to read a log with it."""
        with self._lock:
            if self._logs is None:
                self._logs = self.api_http()
            return self._logs

    def _no_control(self, what: str) -> EnvironmentLacks:
        return EnvironmentLacks(
            f"cannot {what}: the {self.engine} engine has no hold of its nodes; "
            "run this on kind, `--cluster kind`"
        )

    def _config(self) -> SingleConfig:
        try:
            config = KubeConfig.from_file(self.kubeconfig)
            found = config.get(context_name=self.context)
        except (ConfigError, KeyError, TypeError, YAMLError, MsgspecError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise UsageError(f"kubeconfig {self.kubeconfig}: {why}") from error
        if found is None or found.user is None:
            lacks = "current context" if found is None else f"user in context {found.context_name}"
            raise UsageError(f"kubeconfig {self.kubeconfig} has no {lacks}: name one")
        return found


def _log_path(namespace: str, pod: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod}/log"


def _require_log(answer: httpx2.Response, namespace: str, pod: str, container: str) -> None:
    if answer.status_code != httpx2.codes.OK:
        raise ClusterError(f"log of {namespace}/{pod} {container}: {message(answer)}")


def _name(node: Node) -> str:
    return (node.metadata.name if node.metadata else None) or ""


def _closed(node: Node) -> bool:
    return any(each.effect == "NoSchedule" for each in (node.spec and node.spec.taints) or ())


def message(answer: httpx2.Response) -> str:
    """What an API server said, from its Status if it sent one."""
    try:
        said = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code} {answer.text[:200]}"
    return str(said.get("message", said)) if isinstance(said, dict) else str(said)
