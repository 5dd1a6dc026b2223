"""What containers logged that they should not have, kept beyond the life of their pods."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod

from harness.errors import ClusterError

if TYPE_CHECKING:
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

_LINE_LIMIT = 500
_ENTRY_LIMIT = 1000
"""Entries kept of one lane: enough to see what is wrong, and never a machine's memory."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line that tells of an error, or a restart: `restarted 2 times: Error (1)`."""

    namespace: str
    pod: str
    container: str
    text: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod} {self.container}: {self.text}"


class Logbook:
    """
    The errors and restarts of all pods that were read.

    lines_read: of all logs together.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.lines_read = 0

    def read(self, cluster: Cluster, namespace: str) -> None:
        """Take what the pods of a namespace logged so far. Pods that are gone are passed over."""
        for pod in cluster.client().list(Pod, namespace=namespace):
            if pod.metadata is None or pod.status is None:
                continue
            name = pod.metadata.name or ""
            statuses = [
                *(pod.status.initContainerStatuses or []),
                *(pod.status.containerStatuses or []),
            ]
            for status in statuses:
                self._read(cluster, namespace, name, status)

    def _read(self, cluster: Cluster, namespace: str, pod: str, status: ContainerStatus) -> None:
        if status.restartCount:
            last = status.lastState and status.lastState.terminated
            why = f": {last.reason} ({last.exitCode})" if last else ""
            text = f"restarted {status.restartCount} times{why}"
            self._add(Entry(namespace, pod, status.name, text))
        try:
            lines = cluster.logs(namespace, pod, status.name).splitlines()
        except (ClusterError, ApiError, httpx2.HTTPError):
            return  # a container that has not started has no log
        self.lines_read += len(lines)
        for line in lines:
            if _ERROR.search(line):
                self._add(Entry(namespace, pod, status.name, line[:_LINE_LIMIT]))

    def _add(self, entry: Entry) -> None:
        if len(self.entries) < _ENTRY_LIMIT:
            self.entries.append(entry)
