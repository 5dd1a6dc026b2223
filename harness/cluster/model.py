"""
What everything above needs of a cluster, whichever engine is behind it.

A cluster is a Kubernetes API and the few facts that such an API does not tell. Suites, drivers and
the workload client are written against `Cluster` and cannot tell which engine answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import httpx2
    import lightkube

    from harness.cluster.followed import FollowedLog

__all__ = ["Bind", "Cluster", "Image", "ProcessFacts"]


@dataclass(frozen=True, slots=True)
class Bind:
    """A host file or directory that an image shows read-only at `target` (an absolute path)."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Image:
    """
    What a container is made of: files of this machine and a command.

    The embedded engine shows `binds` on top of the machine's own base system. Engines that run
    real container images build one of the same content; only those look at what is below `user`.

    reference: the name in manifests, tag included: `meshmark.dev/proxy:0.1.0`.
    user: numeric uid that runs it when the pod names none; None is root.
    packages: Debian packages that it needs of its base system. A program that is linked
        dynamically gets the C library unasked.
    wheels: lock file of the Python packages that it needs besides.
    portable: what to build instead, where files of this machine would not run elsewhere.
    """

    reference: str
    binds: Sequence[Bind | tuple[Path | str, str]]
    entrypoint: Sequence[str]
    env: Mapping[str, str] | None = None
    user: int | None = None
    packages: Sequence[str] = ()
    wheels: Path | None = None
    portable: Image | None = None

    def normalised(self) -> list[Bind]:
        """The binds, with pairs made into `Bind` and sources made absolute."""
        pairs = [
            (bind.source, bind.target) if isinstance(bind, Bind) else bind for bind in self.binds
        ]
        return [Bind(Path(source).absolute(), target) for source, target in pairs]


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """
    What one process of a pod costs, as its node sees it.

    high_water_bytes: the largest resident set so far (VmHWM).
    cpu_s: user and system time since it started, seconds.
    """

    container: str
    pid: int
    name: str
    pss_bytes: int
    private_dirty_bytes: int
    high_water_bytes: int
    cpu_s: float


class Cluster(Protocol):
    """
    A cluster that is up. Safe to use from several threads; every call blocks.

    engine: "embedded", "kind" or "external".
    kubeconfig: the absolute path of a file that any Kubernetes client takes; mode 0600 where the
        engine wrote it.
    context: the one of that file to use; None for its current one.
    """

    name: str
    engine: str
    kubeconfig: Path
    context: str | None

    def client(self) -> lightkube.Client:
        """The client of this cluster's API, shared by all callers; `close` ends it."""

    def close(self) -> None:
        """Close the client's connections; the cluster itself goes on."""

    def load_images(self, images: Sequence[Image]) -> None:
        """
        Make images known to every node. Loading the same reference again replaces it.

        A cluster made elsewhere is trusted to have them, or to pull them, under their names.
        """

    def pod_http(self, namespace: str, pod: str, port: int) -> httpx2.Client:
        """
        An HTTP client whose base URL is one port of a pod, reached through the API server.

        The caller closes it. What the pod answers is passed on as it is; where the pod cannot be
        reached, the API server answers 503 with a Status that says why.
        """

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        """
        All that the node kept of a container's output, also when the container is dead.

        previous: of the one that ran before it was restarted.
        """

    def following(
        self, namespace: str, pod: str, container: str
    ) -> AbstractContextManager[FollowedLog]:
        """What the node kept of a container's output, and all that comes until it has ended."""

    def processes(self, namespace: str, pod: str) -> list[ProcessFacts]:
        """
        Facts on every process of the pod, sidecars included.

        Raises:
            EnvironmentLacks: the engine cannot see the processes of its nodes.

        """

    def nodes(self) -> list[str]:
        """Names of the nodes that pods are placed on."""

    def stop_node(self, node: str) -> None:
        """
        Take the power from a node; returns when it is off.

        Raises:
            EnvironmentLacks: the engine has no hold of its nodes; likewise the two below.

        """

    def start_node(self, node: str) -> None:
        """Give a node its power back; returns when it is ready for pods."""

    def restart_kubelet(self, node: str) -> None:
        """Restart the agent of a node under its pods; returns when the node is ready again."""

    def require_answer(self) -> None:
        """
        Make sure that the API server answers.

        Raises:
            ClusterError: it does not; says what is known of that, and what to do.

        """
