"""What every namespace has: a default service account and the cluster's CA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cluster.embedded.controllers.reconciler import Name, Reconciler
from harness.cluster.embedded.status import AlreadyExists, NotFound

if TYPE_CHECKING:
    import asyncio

    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["NamespaceContent"]

_NAMESPACES = ("", "namespaces")
_ACCOUNTS = ("", "serviceaccounts")
_CONFIG_MAPS = ("", "configmaps")
_ROOT_CA = "kube-root-ca.crt"


class NamespaceContent:
    """Creates both at once, and again when someone deletes them."""

    def __init__(self, store: Store, group: asyncio.TaskGroup, root_ca: str) -> None:
        self._store = store
        self._root_ca = root_ca
        self._queue = Reconciler(group, self._reconcile)
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        if resource.key == _NAMESPACES and change.type == "ADDED":
            # Within the write: a pod that is created next must find its account.
            self._fill(metadata["name"])
        elif change.type != "ADDED" and (
            (resource.key == _ACCOUNTS and metadata["name"] == "default")
            or (resource.key == _CONFIG_MAPS and metadata["name"] == _ROOT_CA)
        ):
            self._queue.queue(("", metadata["namespace"]))

    async def _reconcile(self, name: Name) -> None:
        try:
            namespace = self._store.peek(_NAMESPACES, None, name[1])
        except NotFound:
            return
        if "deletionTimestamp" not in namespace["metadata"]:
            self._fill(name[1])

    def _fill(self, namespace: str) -> None:
        self._ensure(_ACCOUNTS, {"metadata": {"name": "default", "namespace": namespace}})
        self._ensure(
            _CONFIG_MAPS,
            {
                "metadata": {"name": _ROOT_CA, "namespace": namespace},
                "data": {"ca.crt": self._root_ca},
            },
        )

    def _ensure(self, kind: Key, wanted: Obj) -> None:
        try:
            self._store.create(kind, wanted)
        except AlreadyExists:
            metadata = wanted["metadata"]
            old = self._store.get(kind, metadata["namespace"], metadata["name"])
            if "data" in wanted and old.get("data") != wanted["data"]:
                self._store.update(kind, {**old, "data": wanted["data"]})
