"""
The node agent: runs the pods that are bound to the node, and tells the API server about them.

It hears of each write to the store as it happens. Every pod has one worker, which is one task, and
what goes wrong in a worker stays in it.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING

from harness.cluster.embedded.addresses import Addresses
from harness.cluster.embedded.events import Events
from harness.cluster.embedded.facts import process_facts
from harness.cluster.embedded.images import Images
from harness.cluster.embedded.pod_worker import PodWorker
from harness.cluster.embedded.status import BadRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from harness.cluster.embedded.api.node import Image, LogOptions, ProcessFacts
    from harness.cluster.embedded.cgroups import Cgroups
    from harness.cluster.embedded.container_runner import ContainerRunner
    from harness.cluster.embedded.processes import ProcessStarter
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.volumes import TokenIssuer
    from harness.cluster.embedded.watches import Change

__all__ = ["NODE_NAME", "NodeAgent"]

NODE_NAME = "meshmark-node"

_PODS = ("", "pods")
_SOURCES = frozenset((("", "configmaps"), ("", "secrets")))


class NodeAgent:
    """One node. It is also the `NodeApi` that the API server asks."""

    def __init__(
        self, store: Store, starter: ProcessStarter, group: asyncio.TaskGroup, cgroups: Cgroups
    ) -> None:
        self._store = store
        self._starter = starter
        self._group = group
        self._cgroups = cgroups
        self._images = Images()
        self._addresses = Addresses()
        self._events = Events(store, "kubelet", NODE_NAME)
        self._workers: dict[str, PodWorker] = {}
        self._tokens: TokenIssuer | None = None

    def begin(self, tokens: TokenIssuer) -> None:
        """Start to run pods; their service account tokens come from `tokens`."""
        self._tokens = tokens
        self._store.listen(self._changed)

    # What the API server asks

    async def logs(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """Chunks of a container's log; see `NodeApi`."""
        runner = self._runner(namespace, pod, container)
        log = runner.previous_log if options.previous else runner.log
        if log is None and options.previous:
            raise BadRequest(
                f'previous terminated container "{container}" in pod "{pod}" not found'
            )
        if log is None:
            reason = runner.state.get("waiting", {}).get("reason", "ContainerCreating")
            raise BadRequest(
                f'container "{container}" in pod "{pod}" is waiting to start: {reason}'
            )
        async for chunk in log.read(options):
            yield chunk

    async def connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection inside the cluster's network; see `NodeApi`."""
        return await asyncio.open_connection(self._resolve(host), port)

    async def load_images(self, images: Sequence[Image]) -> None:
        """Make images known. Raises BadRequest."""
        self._images.load(images)

    async def processes(self, namespace: str, pod: str) -> Sequence[ProcessFacts]:
        """Facts of each process of a pod's containers. Raises NotFound."""
        worker = self._worker(namespace, pod)
        spaces = {each.mount_namespace: each.name for each in worker.runners}
        spaces.pop(0, None)
        return process_facts(spaces)

    def _resolve(self, host: str) -> str:
        """The address of `name.namespace.svc`, or what was given when it is no such name."""
        name, *rest = host.split(".")
        if len(rest) >= 2 and rest[1] == "svc":
            service = self._store.peek(("", "services"), rest[0], name)
            address = service["spec"].get("clusterIP")
            if not address or address == "None":
                raise OSError(f"service {rest[0]}/{name} has no address of its own")
            return str(address)
        return host

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        uid = self._store.peek(_PODS, namespace, pod)["metadata"]["uid"]
        if uid not in self._workers:
            raise NotFound(self._store.registry[_PODS], pod)
        return self._workers[uid]

    def _runner(self, namespace: str, pod: str, container: str) -> ContainerRunner:
        for runner in self._worker(namespace, pod).runners:
            if runner.name == container:
                return runner
        raise BadRequest(f"container {container} is not valid for pod {pod}")

    # What happens in the store

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        if resource.key in _SOURCES:
            for worker in self._workers.values():
                if worker.pod["metadata"]["namespace"] == metadata["namespace"]:
                    worker.source_changed(resource.plural, metadata["name"])
        elif resource.key == _PODS:
            self._pod_changed(change.type, change.object)

    def _pod_changed(self, kind: str, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            if kind == "DELETED":
                worker.object_removed()
            else:
                worker.update(pod)
            return
        if kind != "DELETED" and pod["spec"].get("nodeName") == NODE_NAME:
            assert self._tokens is not None  # set before this listener was
            worker = PodWorker(
                pod,
                store=self._store,
                starter=self._starter,
                images=self._images,
                events=self._events,
                tokens=self._tokens,
                addresses=self._addresses,
                cgroups=self._cgroups,
            )
            self._workers[uid] = worker
            self._group.create_task(self._run(uid, worker))

    async def _run(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception as error:
            traceback.print_exception(error, file=sys.stderr)
            self._events.warning(worker.pod, "NodeFailed", f"the node agent failed: {error}")
        finally:
            del self._workers[uid]
