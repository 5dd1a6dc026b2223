"""Jobs: pods that run to their end, again until enough of them succeeded."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.controllers import pods as about
from harness.cluster.embedded.controllers.reconciler import Name, Reconciler
from harness.cluster.embedded.status import NotFound
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    import asyncio

    from harness.cluster.embedded.api.operations import Operations
    from harness.cluster.embedded.events import Events
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj
    from harness.cluster.embedded.watches import Change

__all__ = ["Jobs"]

_JOBS = ("batch", "jobs")
_PODS = ("", "pods")
_DEFAULT_BACK_OFF_LIMIT = 6


class Jobs:
    """Completions, parallelism, backoffLimit, activeDeadlineSeconds, suspend, and a TTL."""

    def __init__(self, operations: Operations, events: Events, group: asyncio.TaskGroup) -> None:
        self._operations = operations
        self._store = operations.store
        self._events = events
        self._queue = Reconciler(group, self._reconcile)
        self._store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        if resource.key == _JOBS:
            self._queue.queue((metadata["namespace"], metadata["name"]))
        elif resource.key == _PODS:
            place = self._store.located(about.controller_uid(change.object))
            if place is not None and place[0] == _JOBS:
                self._queue.queue((place[1], place[2]))

    async def _reconcile(self, name: Name) -> None:
        try:
            job = self._store.get(_JOBS, *name)
        except NotFound:
            return
        if "deletionTimestamp" in job["metadata"]:
            return
        if _finished(job):
            await self._expire(name, job)
            return
        pods = about.owned_by(job, self._store.list(_PODS, name[0])[0])
        succeeded = sum(_phase(pod) == "Succeeded" for pod in pods)
        failed = sum(_phase(pod) == "Failed" for pod in pods)
        active = [pod for pod in pods if about.is_active(pod)]
        verdict = self._verdict(name, job, succeeded, failed)
        if verdict is not None or job["spec"].get("suspend"):
            for pod in active:
                await self._operations.delete(_PODS, name[0], pod["metadata"]["name"], {})
            active = []
        else:
            wanted = min(_parallelism(job), _completions(job) - succeeded)
            for _ in range(wanted - len(active)):
                active.append(await self._create(job))
        self._publish(name, active, succeeded, failed, verdict)

    def _verdict(
        self, name: Name, job: Obj, succeeded: int, failed: int
    ) -> tuple[str, str, str] | None:
        """Condition, reason and message of a job that is over."""
        spec = job["spec"]
        if succeeded >= _completions(job):
            return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        limit = spec.get("backoffLimit")
        if failed > (_DEFAULT_BACK_OFF_LIMIT if limit is None else int(limit)):
            text = "Job has reached the specified backoff limit"
            return ("Failed", "BackoffLimitExceeded", text)
        deadline_s = spec.get("activeDeadlineSeconds")
        started = (job.get("status") or {}).get("startTime")
        if deadline_s is not None and started:
            age = dt.datetime.now(dt.UTC) - about.parsed_time(started)
            left_s = float(deadline_s) - age.total_seconds()
            if left_s <= 0:
                text = "Job was active longer than specified deadline"
                return ("Failed", "DeadlineExceeded", text)
            self._queue.queue_after(name, left_s)
        return None

    async def _create(self, job: Obj) -> Obj:
        metadata, template = job["metadata"], job["spec"]["template"]
        of_template = template.get("metadata") or {}
        pod = await self._operations.create(_PODS, {
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "labels": {
                    **(of_template.get("labels") or {}),
                    "batch.kubernetes.io/job-name": metadata["name"],
                    "batch.kubernetes.io/controller-uid": metadata["uid"],
                    "job-name": metadata["name"],
                },
                "annotations": of_template.get("annotations") or {},
                "ownerReferences": [about.owner_reference(job)],
            },
            "spec": template["spec"],
        })  # fmt: skip
        self._events.normal(job, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return pod

    def _publish(
        self,
        name: Name,
        active: list[Obj],
        succeeded: int,
        failed: int,
        verdict: tuple[str, str, str] | None,
    ) -> None:
        job = self._store.get(_JOBS, *name)
        old = job.get("status") or {}
        status: dict[str, Any] = {
            "startTime": old.get("startTime") or timestamp(),
            "active": len(active),
            "ready": sum(about.is_ready(pod) for pod in active),
            "succeeded": succeeded,
            "failed": failed,
        }
        if verdict is not None:
            kind, reason, message = verdict
            now = timestamp()
            status["conditions"] = [{
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastProbeTime": now,
                "lastTransitionTime": now,
            }]  # fmt: skip
            if kind == "Complete":
                status["completionTime"] = now
            record = self._events.normal if kind == "Complete" else self._events.warning
            record(job, "Completed" if kind == "Complete" else reason, message)
        job["status"] = status
        self._store.update(_JOBS, job, subresource="status")

    async def _expire(self, name: Name, job: Obj) -> None:
        ttl_s = job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is None:
            return
        ended = about.parsed_time(job["status"]["conditions"][0]["lastTransitionTime"])
        left_s = float(ttl_s) - (dt.datetime.now(dt.UTC) - ended).total_seconds()
        if left_s > 0:
            self._queue.queue_after(name, left_s)
            return
        await self._operations.delete(_JOBS, *name, {"propagationPolicy": "Background"})


def _phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _completions(job: Obj) -> int:
    completions = job["spec"].get("completions")
    return _parallelism(job) if completions is None else int(completions)


def _parallelism(job: Obj) -> int:
    parallelism = job["spec"].get("parallelism")
    return 1 if parallelism is None else int(parallelism)


def _finished(job: Obj) -> bool:
    return any(
        each["type"] in {"Complete", "Failed"} and each["status"] == "True"
        for each in (job.get("status") or {}).get("conditions") or ()
    )
