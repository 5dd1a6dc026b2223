"""The nodes of a kind cluster as Docker knows them: containers with a label."""

from __future__ import annotations

from harness.cluster.kind import inotify
from harness.cluster.kind.program import docker
from harness.errors import MeshmarkError

__all__ = ["ids", "last_words", "stopped"]

_LABEL = "io.x-k8s.kind.cluster"
_LOG_LINES = 15


def ids(cluster: str) -> dict[str, str]:
    """Container id by name of every node; empty when there is no such cluster."""
    lines = _listed(cluster, "{{.Names}} {{.ID}}")
    return {name: found for name, _, found in (line.partition(" ") for line in lines)}


def stopped(cluster: str) -> list[str]:
    """The nodes that do not run, each with how Docker says it ended."""
    lines = _listed(cluster, "{{.Names}}: {{.Status}}")
    return [line for line in lines if not line.partition(": ")[2].startswith("Up")]


def last_words(cluster: str) -> str:
    """What every node said at last, for errors: how it is and the end of its log."""
    told = []
    for line in _listed(cluster, "{{.Names}}: {{.Status}}"):
        node, _, status = line.partition(": ")
        try:
            said = docker("logs", "--tail", str(_LOG_LINES), node)
        except MeshmarkError as error:
            said = str(error)
        told.append(f"node {node} ({status}) said:\n{said.strip() or '(nothing)'}")
    if meaning := inotify.explain("\n".join(told)):
        told.append(meaning)
    return "\n".join(told) or "no node of it was made"


def _listed(cluster: str, shape: str) -> list[str]:
    said = docker("ps", "--all", "--no-trunc", "--filter", f"label={_LABEL}={cluster}",
                  "--format", shape)  # fmt: skip
    return sorted(said.splitlines())
