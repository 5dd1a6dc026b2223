"""What containers logged that they should not have, kept beyond the life of their pods."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import threading
from typing import TYPE_CHECKING

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod

from harness.errors import ClusterError, NotInTime
from harness.waiting import until
from suites.follower import Follower

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from lightkube.models.core_v1 import ContainerStatus

    from harness.cluster import Cluster

__all__ = ["Entry", "Logbook"]

_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|PANIC)\b|\bpanicked at\b|^Traceback |^Exception in "
    r"|\blevel=\"?(?:error|fatal|critical|panic)\b|\"level\": ?\"(?:error|fatal|critical|panic)\""
    r"|\bis forbidden: User \\?\"system:serviceaccount:"
)
"""
How programs of all kinds mark what went wrong: levels in plain text, logfmt and JSON, panics.

A call that the Kubernetes API denied counts at any level: clients in Go only warn of it, try again
for ever, and work on with what they knew.
"""

_LINE_LIMIT = 2000
"""Characters kept of a line: whole, as a rule, since an exception may look at its end."""

_ENTRY_LIMIT = 100
"""Entries kept of one container: enough to see what is wrong, and never a machine's memory."""

_FOLLOWED_LIMIT = 64
"""Logs that are followed at once, a thread each; a space has a dozen containers."""

_OPENED_S = 5.0
_JOINED_S = 5.0


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line that tells of an error, or a restart: `restarted 2 times: Error (1)`."""

    namespace: str
    pod: str
    container: str
    text: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod} {self.container}: {self.text}"


@dataclasses.dataclass(frozen=True)
class _Where:
    """
    One log.

    run: the id of the container, another one after each restart; of its pod, where it has none.
    """

    namespace: str
    pod: str
    container: str
    run: str


@dataclasses.dataclass
class _Found:
    """How many lines a log has, and those that tell of errors, in their order."""

    lines: int = 0
    texts: dict[str, None] = dataclasses.field(default_factory=dict)


class Logbook:
    """
    The errors and restarts of all pods that were read, each counted once, however often it is read.

    A pod that is about to end is followed until it has. The threads for that end with its
    containers; those that are left when the block of a logbook ends are ended there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[_Where, _Found] = {}
        self._restarts: dict[tuple[str, str, str], str] = {}
        self._followers: dict[_Where, Follower] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for follower in self._followers.values():
            follower.end()
        for follower in self._followers.values():
            follower.join(_JOINED_S)

    @property
    def entries(self) -> list[Entry]:
        """Errors and restarts of all that was read so far."""
        with self._lock:
            restarts = [Entry(*where, text) for where, text in self._restarts.items()]
            return restarts + [
                Entry(where.namespace, where.pod, where.container, text)
                for where, found in self._found.items()
                for text in found.texts
            ]

    @property
    def lines_read(self) -> int:
        """Of all logs together."""
        with self._lock:
            return sum(found.lines for found in self._found.values())

    def read(self, cluster: Cluster, namespace: str) -> None:
        """Take what the pods of a namespace logged so far. Pods that are gone are passed over."""
        for where, status in self._containers(cluster, namespace):
            self._note_restart(cluster, where, status)
            self._read(cluster, where)

    def follow(self, cluster: Cluster, namespace: str, pods: Container[str] | None = None) -> None:
        """
        Take what these pods of a namespace log until they have ended; all of it when None.

        Call this before what ends them: when it returns, the logs are open, and nothing is missed.
        """
        begun = []
        for where, status in self._containers(cluster, namespace, pods):
            running = status.state is not None and status.state.running is not None
            self._note_restart(cluster, where, status)
            if where in self._followers:
                continue
            if not running or self._following() >= _FOLLOWED_LIMIT:
                self._read(cluster, where)
                continue
            take = functools.partial(self._take, where)
            follower = Follower(cluster, namespace, where.pod, where.container, take)
            self._followers[where] = follower
            begun.append(follower)
        with contextlib.suppress(NotInTime):  # one that opens later is read from its start too
            until(
                lambda: all(follower.opened.is_set() for follower in begun),
                what=f"the logs of {namespace} are followed",
                timeout_s=_OPENED_S,
                interval_s=0.01,
            )

    def settle(self, cluster: Cluster, timeout_s: float) -> list[str]:
        """
        Wait until the pods that were told to end have, so that all they logged is here.

        Returns what may be missing: the logs that could not be read to their end, and why.
        """
        with contextlib.suppress(NotInTime):
            until(
                lambda: self._ending(cluster),
                what="the logs of pods that were told to end are whole",
                holds=lambda left: not left,
                timeout_s=timeout_s,
            )
        late = [f"{each.name}: has not ended" for each in self._ending(cluster)]
        broken = [f"{each.name}: {each.error}" for each in self._followers.values() if each.error]
        return late + broken

    def _following(self) -> int:
        return sum(follower.is_alive for follower in self._followers.values())

    def _ending(self, cluster: Cluster) -> list[Follower]:
        """The logs that are not whole though their pods are going away, or gone."""
        left = [follower for follower in self._followers.values() if follower.is_alive]
        staying = {
            (namespace, pod.metadata.name)
            for namespace in {follower.namespace for follower in left}
            for pod in cluster.client().list(Pod, namespace=namespace)
            if pod.metadata and not pod.metadata.deletionTimestamp
        }
        return [each for each in left if (each.namespace, each.pod) not in staying]

    def _containers(
        self, cluster: Cluster, namespace: str, pods: Container[str] | None = None
    ) -> Iterator[tuple[_Where, ContainerStatus]]:
        for pod in cluster.client().list(Pod, namespace=namespace):
            if pod.metadata is None or pod.status is None:
                continue
            name = pod.metadata.name or ""
            if pods is not None and name not in pods:
                continue
            for status in (
                *(pod.status.initContainerStatuses or ()),
                *(pod.status.containerStatuses or ()),
            ):
                run = status.containerID or pod.metadata.uid or ""
                yield _Where(namespace, name, status.name, run), status

    def _note_restart(self, cluster: Cluster, where: _Where, status: ContainerStatus) -> None:
        """Take that a container was restarted, and what it logged before."""
        if not status.restartCount:
            return
        last = status.lastState and status.lastState.terminated
        why = f": {last.reason} ({last.exitCode})" if last else ""
        text = f"restarted {status.restartCount} times{why}"
        with self._lock:
            self._restarts[where.namespace, where.pod, where.container] = text
        run = (last and last.containerID) or f"before {where.run}"
        self._read(cluster, dataclasses.replace(where, run=run), previous=True)

    def _read(self, cluster: Cluster, where: _Where, *, previous: bool = False) -> None:
        try:
            log = cluster.logs(where.namespace, where.pod, where.container, previous=previous)
        except (ClusterError, ApiError, httpx2.HTTPError):
            return  # a container that has not started has no log
        self._take(where, log.splitlines())

    def _take(self, where: _Where, lines: Iterable[str]) -> None:
        """Keep what a log holds, as far as the lines come, beside what it was known to hold."""
        for number, line in enumerate(lines, start=1):
            with self._lock:
                found = self._found.setdefault(where, _Found())
                found.lines = max(found.lines, number)
                if _ERROR.search(line) and len(found.texts) < _ENTRY_LIMIT:
                    found.texts[line[:_LINE_LIMIT]] = None
