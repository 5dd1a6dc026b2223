"""ReplicaSets: as many pods of a template as there should be."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

from harness.cluster.embedded.controllers import claims
from harness.cluster.embedded.controllers import pods as about
from harness.cluster.embedded.controllers.reconciler import Name, Reconciler
from harness.cluster.embedded.status import ApiError, NotFound
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from harness.cluster.embedded.api.operations import Operations
    from harness.cluster.embedded.events import Events
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj
    from harness.cluster.embedded.watches import Change

__all__ = ["ReplicaSets"]

_PODS = ("", "pods")
_REPLICA_SETS = ("apps", "replicasets")
_BATCH = 50
"""Pods created side by side for one set."""


class ReplicaSets:
    """Creates and deletes pods, and counts them."""

    def __init__(self, operations: Operations, events: Events, group: asyncio.TaskGroup) -> None:
        self._operations = operations
        self._store = operations.store
        self._events = events
        self._queue = Reconciler(group, self._reconcile)
        self._store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        if resource.key == _REPLICA_SETS:
            self._queue.queue((metadata["namespace"], metadata["name"]))
        elif resource.key == _PODS:
            place = self._store.located(about.controller_uid(change.object))
            if place is not None and place[0] == _REPLICA_SETS:
                self._queue.queue((place[1], place[2]))
            for owner in claims.candidates(self._store, change.object, _REPLICA_SETS):
                self._queue.queue((metadata["namespace"], owner["metadata"]["name"]))

    async def _reconcile(self, name: Name) -> None:
        try:
            owner = self._store.get(_REPLICA_SETS, *name)
        except NotFound:
            return
        failure = ""
        if "deletionTimestamp" not in owner["metadata"]:
            failure = await self._correct(owner, self._pods(owner))
        self._count(name, failure)
        if failure:
            raise ApiError(failure)

    def _pods(self, owner: Obj) -> list[Obj]:
        owned = claims.claimed(self._store, owner, _PODS, adoptable=about.is_active)
        return [pod for pod in owned if about.is_active(pod)]

    async def _correct(self, owner: Obj, present: list[Obj]) -> str:
        """Create or delete what is too few or too many; why a creation failed, if one did."""
        missing = _replicas(owner) - len(present)
        if missing < 0:
            for pod in sorted(present, key=_keep_rank)[:-missing]:
                metadata = pod["metadata"]
                self._events.normal(owner, "SuccessfulDelete", f"Deleted pod: {metadata['name']}")
                await self._operations.delete(_PODS, metadata["namespace"], metadata["name"], {})
            return ""
        while missing > 0:
            batch = min(missing, _BATCH)
            results = await asyncio.gather(
                *(self._create(owner) for _ in range(batch)), return_exceptions=True
            )
            for result in results:
                if isinstance(result, ApiError):
                    self._events.warning(owner, "FailedCreate", f"Error creating: {result}")
                    return str(result)
                if isinstance(result, BaseException):
                    raise result
            missing -= batch
        return ""

    async def _create(self, owner: Obj) -> None:
        template, metadata = owner["spec"]["template"], owner["metadata"]
        of_template = template.get("metadata") or {}
        pod = await self._operations.create(_PODS, {
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "labels": of_template.get("labels") or {},
                "annotations": of_template.get("annotations") or {},
                "finalizers": of_template.get("finalizers") or [],
                "ownerReferences": [about.owner_reference(owner)],
            },
            "spec": template["spec"],
        })  # fmt: skip
        self._events.normal(owner, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    def _count(self, name: Name, failure: str) -> None:
        owner = self._store.get(_REPLICA_SETS, *name)
        present = self._pods(owner)
        min_ready_s = int(owner["spec"].get("minReadySeconds") or 0)
        now = dt.datetime.now(dt.UTC)
        waits = [about.available_in_s(pod, min_ready_s, now) for pod in present]
        labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
        status: Obj = {
            "replicas": len(present),
            "fullyLabeledReplicas": sum(_has_labels(pod, labels) for pod in present),
            "readyReplicas": sum(wait is not None for wait in waits),
            "availableReplicas": sum(wait == 0.0 for wait in waits),
            "observedGeneration": owner["metadata"].get("generation", 0),
        }
        if failure:
            status["conditions"] = [_failed(owner, failure)]
        # Only how many there are is told when it is none.
        owner["status"] = {**about.without_zeros(status), "replicas": len(present)}
        self._store.update(_REPLICA_SETS, owner, subresource="status")
        pending = [wait for wait in waits if wait]
        if pending:
            self._queue.queue_after(name, min(pending))


def _replicas(owner: Obj) -> int:
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _keep_rank(pod: Obj) -> tuple[bool, bool, str]:
    """Lowest goes first: not running, then not ready, then the youngest."""
    created = pod["metadata"]["creationTimestamp"]
    youngest_first = "".join(chr(0x10FFFF - ord(letter)) for letter in created)
    phase = (pod.get("status") or {}).get("phase")
    return (phase == "Running", about.is_ready(pod), youngest_first)


def _has_labels(pod: Obj, labels: dict[str, str]) -> bool:
    return labels.items() <= (pod["metadata"].get("labels") or {}).items()


def _failed(owner: Obj, message: str) -> Obj:
    for condition in (owner.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure":
            return {**condition, "message": message}
    return {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": message,
        "lastTransitionTime": timestamp(),
    }
