"""`refmesh uninject`: takes out what `inject` or the injector put in."""

from __future__ import annotations

import copy
from typing import Any

import click

from reference_mesh.cli import report, streams, workloads
from reference_mesh.cli.report import Outcome
from reference_mesh.control_plane.injector import containers
from reference_mesh.errors import UsageError
from reference_mesh.manifests import names

__all__ = ["command", "uninjected"]

_CONTAINERS = frozenset({names.PROXY_CONTAINER, names.INIT_CONTAINER})


@click.command("uninject")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def command(files: tuple[str, ...]) -> None:
    """
    Remove the sidecar and its annotations from the workloads in these files, or `-`.

    The result goes to standard output, what was done to each object to standard error.
    """
    outcomes: list[Outcome] = []

    def change(document: dict[str, Any]) -> dict[str, Any]:
        result = uninjected(document)
        kind, name = workloads.described(document)
        outcomes.append(Outcome(kind, name, changed=result != document))
        return result

    chunks = list(streams.read(files))
    if not chunks:
        raise UsageError(f"{', '.join(files)}: no documents found")
    text = streams.rewritten(chunks, change)
    click.echo(text, nl=False)
    click.echo(report.uninjection(outcomes), err=True, nl=False)


def uninjected(document: dict[str, Any]) -> dict[str, Any]:
    """Copy an object without anything of the mesh in its pods; others come back as they are."""
    if document.get("kind") in {"Namespace", "Service"}:
        result = copy.deepcopy(document)
        _clean_metadata(result)
        return result
    pod = workloads.pod_of(document)
    if pod is None:
        return document
    pod = copy.deepcopy(pod)
    _clean_metadata(pod)
    spec = pod["spec"]
    for member in ("containers", "initContainers"):
        _keep(spec, member, _CONTAINERS, always=member == "containers")
    _keep(spec, "volumes", containers.VOLUMES)
    if document.get("kind") == "Pod":
        return pod
    result = workloads.with_pod(document, pod)
    _clean_metadata(result)
    return result


def _keep(spec: dict[str, Any], member: str, ours: frozenset[str], *, always: bool = False) -> None:
    """Drop our items of a list, and the list with the last of them."""
    items = spec.get(member)
    if not isinstance(items, list):
        return
    kept = [item for item in items if not (isinstance(item, dict) and item.get("name") in ours)]
    if len(kept) == len(items):
        return
    if kept or always:
        spec[member] = kept
    else:
        del spec[member]


def _clean_metadata(document: dict[str, Any]) -> None:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return
    for member in ("annotations", "labels"):
        texts = metadata.get(member)
        if not isinstance(texts, dict):
            continue
        kept = {key: value for key, value in texts.items() if not _is_ours(key)}
        if len(kept) == len(texts):
            continue
        if kept:
            metadata[member] = kept
        else:
            del metadata[member]
    if not metadata and document.get("kind") is None:
        del document["metadata"]


def _is_ours(key: str) -> bool:
    prefix = key.partition("/")[0]
    return prefix == "linkerd.io" or prefix.endswith(".linkerd.io")
