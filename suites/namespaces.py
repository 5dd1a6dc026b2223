"""Namespaces that are made here and deleted here: never one that somebody else has."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lightkube

    from harness.cluster import Cluster

__all__ = ["own_namespace", "removal"]

_OURS = {"app.kubernetes.io/managed-by": "meshmark"}


@contextlib.contextmanager
def own_namespace(client: lightkube.Client, name: str, *, keep: bool = False) -> Iterator[None]:
    """
    A namespace for the time of the block; deleted in the end unless `keep`.

    One that an earlier run left is taken over: its label tells.

    Raises:
        ClusterError: there is one of this name that was not made here, or none can be made.

    """
    try:
        client.create(Namespace(metadata=ObjectMeta(name=name, labels=_OURS)))
    except ApiError as error:
        if error.status.code != 409:
            raise ClusterError(f"create namespace {name}: {error.status.message}") from error
        _require_ours(client, name)
    try:
        yield
    finally:
        if not keep:
            # What went wrong in the block is what counts; without an answer the cluster is gone.
            with contextlib.suppress(ApiError, httpx2.HTTPError):
                client.delete(Namespace, name)


def removal(cluster: Cluster) -> str:
    """The shell command that deletes every namespace that was made here."""
    where = f" --context={shlex.quote(cluster.context)}" if cluster.context else ""
    labels = ",".join(f"{key}={value}" for key, value in _OURS.items())
    return f"kubectl delete namespaces{where} -l {labels}"


def _require_ours(client: lightkube.Client, name: str) -> None:
    found = client.get(Namespace, name)
    labels = (found.metadata and found.metadata.labels) or {}
    if not _OURS.items() <= labels.items():
        raise ClusterError(
            f"namespace {name} exists already and was not made by meshmark, which would delete it "
            "in the end; rename or remove it, or use another cluster"
        )
