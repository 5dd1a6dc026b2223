"""Deployments: one ReplicaSet per pod template, and the way from the old one to the new."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster.embedded.controllers import claims, rolling
from harness.cluster.embedded.controllers import pods as about
from harness.cluster.embedded.controllers.reconciler import Name, Reconciler
from harness.cluster.embedded.status import NotFound
from harness.cluster.embedded.store import copied, timestamp

if TYPE_CHECKING:
    import asyncio

    from harness.cluster.embedded.events import Events
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["Deployments"]

_DEPLOYMENTS = ("apps", "deployments")
_REPLICA_SETS = ("apps", "replicasets")
_PODS = ("", "pods")
_HASH_LABEL = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Deployments:
    """Makes ReplicaSets follow deployments; the pods are the ReplicaSets' business."""

    def __init__(self, store: Store, events: Events, group: asyncio.TaskGroup) -> None:
        self._store = store
        self._events = events
        self._queue = Reconciler(group, self._reconcile)
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        if resource.key == _DEPLOYMENTS:
            self._queue.queue((metadata["namespace"], metadata["name"]))
        elif resource.key == _REPLICA_SETS:
            place = self._store.located(about.controller_uid(change.object))
            if place is not None and place[0] == _DEPLOYMENTS:
                self._queue.queue((place[1], place[2]))
            for owner in claims.candidates(self._store, change.object, _DEPLOYMENTS):
                self._queue.queue((metadata["namespace"], owner["metadata"]["name"]))

    async def _reconcile(self, name: Name) -> None:
        try:
            deployment = self._store.get(_DEPLOYMENTS, *name)
        except NotFound:
            return
        if "deletionTimestamp" in deployment["metadata"]:
            return
        sets = self._sets(deployment)
        new = next((each for each in sets if _same_template(deployment, each)), None)
        if not deployment["spec"].get("paused"):
            new = self._current(deployment, new, sets)
            if new["metadata"]["uid"] not in {each["metadata"]["uid"] for each in sets}:
                sets.append(new)
            self._scale_all(deployment, new, sets)
            self._forget_history(deployment, new)
        elif new is not None and len([each for each in sets if each["spec"]["replicas"]]) <= 1:
            self._scale(deployment, new, _replicas(deployment))
        self._publish(name, new)

    def _sets(self, deployment: Obj) -> list[Obj]:
        """The deployment's ReplicaSets, oldest revision first."""
        return sorted(claims.claimed(self._store, deployment, _REPLICA_SETS), key=_revision)

    # The new ReplicaSet

    def _current(self, deployment: Obj, new: Obj | None, sets: list[Obj]) -> Obj:
        """The ReplicaSet of the present template, made if need be, with the highest revision."""
        newest = max((_revision(each) for each in sets if each is not new), default=0)
        if new is None:
            new = self._make(deployment, newest + 1)
        elif _revision(new) <= newest:  # a rollback: the old template is the newest revision now
            new["metadata"].setdefault("annotations", {})[_REVISION] = str(newest + 1)
            new = self._store.update(_REPLICA_SETS, new)
        annotations = deployment["metadata"].setdefault("annotations", {})
        if annotations.get(_REVISION) != str(_revision(new)):
            annotations[_REVISION] = str(_revision(new))
            stored = self._store.update(_DEPLOYMENTS, deployment)
            deployment["metadata"] = stored["metadata"]
        return new

    def _make(self, deployment: Obj, revision: int) -> Obj:
        spec, metadata = deployment["spec"], deployment["metadata"]
        template = copied(spec["template"])
        digest = _digest(template)
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[_HASH_LABEL] = digest
        selector = copied(spec["selector"])
        selector.setdefault("matchLabels", {})[_HASH_LABEL] = digest
        annotations = {
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if key != _LAST_APPLIED
        }
        return self._store.create(_REPLICA_SETS, {
            "metadata": {
                "name": f"{metadata['name']}-{digest}",
                "namespace": metadata["namespace"],
                "labels": dict(labels),
                "annotations": annotations | {_REVISION: str(revision)},
                "ownerReferences": [about.owner_reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": spec.get("minReadySeconds") or 0,
                "selector": selector,
                "template": template,
            },
        })  # fmt: skip

    # Scaling

    def _scale_all(self, deployment: Obj, new: Obj, sets: list[Obj]) -> None:
        old = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]]
        strategy = deployment["spec"].get("strategy") or {}
        if strategy.get("type") == "Recreate":
            self._recreate(deployment, new, old)
            return
        rules = strategy.get("rollingUpdate") or {}
        limits = rolling.bounds(
            _replicas(deployment), rules.get("maxSurge"), rules.get("maxUnavailable")
        )
        steps = rolling.scales(limits, _count(new), [_count(each) for each in old])
        for each in sets:
            if each["metadata"]["name"] in steps:
                self._scale(deployment, each, steps[each["metadata"]["name"]])

    def _recreate(self, deployment: Obj, new: Obj, old: list[Obj]) -> None:
        for each in old:
            self._scale(deployment, each, 0)
        uids = {each["metadata"]["uid"] for each in old}
        namespace = deployment["metadata"]["namespace"]
        pods = self._store.list(_PODS, namespace)[0]
        if not any(about.controller_uid(pod) in uids for pod in pods):
            self._scale(deployment, new, _replicas(deployment))
        else:  # the last old pod's end changes no ReplicaSet: look again
            metadata = deployment["metadata"]
            self._queue.queue_after((metadata["namespace"], metadata["name"]), 0.1)

    def _scale(self, deployment: Obj, replica_set: Obj, replicas: int) -> None:
        before, name = replica_set["spec"]["replicas"], replica_set["metadata"]["name"]
        if before == replicas:
            return
        replica_set["spec"]["replicas"] = replicas
        replica_set["metadata"] = self._store.update(_REPLICA_SETS, replica_set)["metadata"]
        way = "up" if replicas > before else "down"
        text = f"Scaled {way} replica set {name} from {before} to {replicas}"
        self._events.normal(deployment, "ScalingReplicaSet", text)

    def _forget_history(self, deployment: Obj, new: Obj) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        idle = [
            each
            for each in self._sets(deployment)
            if not each["spec"]["replicas"]
            and not (each.get("status") or {}).get("replicas")
            and each["metadata"]["uid"] != new["metadata"]["uid"]
        ]
        for each in idle[: max(0, len(idle) - (10 if limit is None else int(limit)))]:
            metadata = each["metadata"]
            self._store.delete(_REPLICA_SETS, metadata["namespace"], metadata["name"])

    # Status

    def _publish(self, name: Name, new: Obj | None) -> None:
        deployment = self._store.get(_DEPLOYMENTS, *name)
        sets = self._sets(deployment)
        new = next(
            (each for each in sets if new and each["metadata"]["uid"] == new["metadata"]["uid"]),
            None,
        )
        status: dict[str, Any] = {
            "observedGeneration": deployment["metadata"].get("generation", 0),
            "replicas": _sum(sets, "replicas"),
            "updatedReplicas": _sum([new] if new else [], "replicas"),
            "readyReplicas": _sum(sets, "readyReplicas"),
            "availableReplicas": _sum(sets, "availableReplicas"),
        }
        wanted = sum(each["spec"]["replicas"] for each in sets)
        status["unavailableReplicas"] = max(0, wanted - status["availableReplicas"])
        status["conditions"] = self._conditions(deployment, new, status, name)
        deployment["status"] = about.without_zeros(status)
        self._store.update(_DEPLOYMENTS, deployment, subresource="status")

    def _conditions(self, deployment: Obj, new: Obj | None, status: Obj, name: Name) -> list[Obj]:
        replicas = _replicas(deployment)
        rules = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        limits = rolling.bounds(replicas, rules.get("maxSurge"), rules.get("maxUnavailable"))
        available = status["availableReplicas"] >= replicas - limits.unavailable
        minimum = "has" if available else "does not have"
        conditions = [
            _condition(
                _named("Available", deployment.get("status") or {}),
                "Available",
                available,
                "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
                f"Deployment {minimum} minimum availability.",
            )
        ]
        if new is not None:
            conditions.append(self._progress(deployment, new, status, name))
        return conditions

    def _progress(self, deployment: Obj, new: Obj, status: Obj, name: Name) -> Obj:
        replicas, old = _replicas(deployment), deployment.get("status") or {}
        before = _named("Progressing", old)
        shown = new["metadata"]["name"]
        counts = ("updatedReplicas", "replicas", "availableReplicas")
        if all(status[key] == replicas for key in counts):
            text = f'ReplicaSet "{shown}" has successfully progressed.'
            return _condition(before, "Progressing", True, "NewReplicaSetAvailable", text)
        watched = (*counts, "readyReplicas", "observedGeneration")
        moved = any(status[key] != old.get(key, 0) for key in watched)
        deadline_s = float(deployment["spec"].get("progressDeadlineSeconds") or 600)
        if before is not None and not moved:
            since = about.parsed_time(before["lastUpdateTime"])
            left_s = deadline_s - (dt.datetime.now(dt.UTC) - since).total_seconds()
            if left_s <= 0 or before["status"] == "False":
                text = f'ReplicaSet "{shown}" has timed out progressing.'
                return _condition(before, "Progressing", False, "ProgressDeadlineExceeded", text)
            self._queue.queue_after(name, left_s)
            return before
        self._queue.queue_after(name, deadline_s)
        text = f'ReplicaSet "{shown}" is progressing.'
        return _condition(before, "Progressing", True, "ReplicaSetUpdated", text, updated=True)


def _replicas(deployment: Obj) -> int:
    replicas = deployment["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _revision(replica_set: Obj) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _count(replica_set: Obj) -> rolling.Count:
    available = (replica_set.get("status") or {}).get("availableReplicas") or 0
    name, wanted = replica_set["metadata"]["name"], replica_set["spec"]["replicas"]
    return rolling.Count(name, wanted, min(available, wanted))


def _sum(sets: list[Obj], key: str) -> int:
    return sum((each.get("status") or {}).get(key) or 0 for each in sets)


def _same_template(deployment: Obj, replica_set: Obj) -> bool:
    template = copied(replica_set["spec"]["template"])
    template["metadata"]["labels"].pop(_HASH_LABEL, None)
    return _digest(template) == _digest(deployment["spec"]["template"])


def _digest(template: Obj) -> str:
    """Ten letters that stand for the template, the same for equal ones."""
    canonical = msgspec.json.encode(template, order="deterministic")
    raw = hashlib.sha256(canonical).digest()[:10]
    return "".join(_HASH_LETTERS[byte % len(_HASH_LETTERS)] for byte in raw)


def _named(kind: str, status: Obj) -> Obj | None:
    conditions = status.get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), None)


def _condition(
    before: Obj | None,
    name: str,
    holds: bool,
    reason: str,
    message: str,
    *,
    updated: bool = False,
) -> Obj:
    status, now = "True" if holds else "False", timestamp()
    same = before is not None and before["status"] == status
    kept = same and before is not None and before["reason"] == reason and not updated
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": before["lastUpdateTime"] if before is not None and kept else now,
        "lastTransitionTime": before["lastTransitionTime"] if before and same else now,
    }
