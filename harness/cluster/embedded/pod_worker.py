"""
One pod on the node, from its binding to its end.

The order is Kubernetes': volumes, sandbox, init containers one after the other (a native sidecar
among them counts as passed once it has started), then the main containers together. At the end the
main containers go first, sidecars after them in reverse order. When the sandbox is lost, with it
go the network and what init containers did to it, so everything starts over in a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded import container_spec, environment, pod_status
from harness.cluster.embedded.addresses import wished
from harness.cluster.embedded.bootstrap import NODE_ADDRESS
from harness.cluster.embedded.container_runner import ContainerRunner, Role
from harness.cluster.embedded.environment import Sources
from harness.cluster.embedded.status import NotFound
from harness.cluster.embedded.volumes import PodVolumes
from harness.errors import ClusterError

if TYPE_CHECKING:
    from harness.cluster.embedded.addresses import Addresses
    from harness.cluster.embedded.cgroups import Cgroups
    from harness.cluster.embedded.events import Events
    from harness.cluster.embedded.images import Images
    from harness.cluster.embedded.processes import Process, ProcessStarter
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.volumes import TokenIssuer

__all__ = ["PodWorker"]

_PODS = ("", "pods")
_RETRY_S = 1.0
_LEAST_SIDECAR_GRACE_S = 2.0
"""Kubernetes grants sidecars this much, even when the main containers used all the time up."""


class PodWorker:
    """Runs one pod. `run` ends when the pod is gone from the node and from the store."""

    def __init__(
        self,
        pod: Obj,
        *,
        store: Store,
        starter: ProcessStarter,
        images: Images,
        events: Events,
        tokens: TokenIssuer,
        addresses: Addresses,
        cgroups: Cgroups,
    ) -> None:
        self.pod = copy.deepcopy(pod)
        self.starter = starter
        self.images = images
        self.events = events
        self.cgroups = cgroups
        self.sources = Sources(store, pod["metadata"]["namespace"])
        self.volumes = PodVolumes(self.pod, self.sources, tokens)
        self.address = ""
        self._store = store
        self._addresses = addresses
        self._sandbox: Process | None = None
        self._volumes_made = False
        self._finished = False
        self._failure: tuple[str, str] | None = None
        self._dirty = False
        self._retired = False
        self._ending = asyncio.Event()
        self._removed = asyncio.Event()
        """The object is gone: nothing may be waited for any more."""
        self._volumes_changed = asyncio.Event()
        self.runners = self._make_runners()

    @property
    def sandbox(self) -> Process:
        """The process that holds the pod's namespaces. Raises ClusterError when it is lost."""
        if self._sandbox is None or not self._sandbox.running:
            raise ClusterError("the pod's sandbox is gone")
        return self._sandbox

    def update(self, pod: Obj) -> None:
        """Take what the store holds now."""
        before = self.pod["metadata"]
        if int(pod["metadata"]["resourceVersion"]) < int(before["resourceVersion"]):
            return  # told of within a later write
        self.pod = {**copy.deepcopy(pod), "status": self.pod.get("status") or {}}
        metadata = self.pod["metadata"]
        if "deletionTimestamp" in metadata:
            self._ending.set()
        specs = {each["name"]: each for each in _containers(self.pod)}
        for runner in self.runners:
            if runner.spec["image"] != specs[runner.name]["image"]:
                runner.replace(specs[runner.name])
        if any(before.get(name) != metadata.get(name) for name in ("labels", "annotations")):
            self._volumes_changed.set()
        if (pod.get("status") or {}).get("conditions") != self.pod["status"].get("conditions"):
            self.changed()  # somebody set a readiness gate

    def object_removed(self) -> None:
        """The pod is gone from the store: end at once."""
        self._removed.set()
        self._ending.set()

    def source_changed(self, plural: str, name: str) -> None:
        """A config map or secret of the namespace has changed."""
        if (plural, name) in self.sources.used:
            self._volumes_changed.set()

    def changed(self) -> None:
        """Write the status soon; several changes in a row become one write."""
        if not self._dirty and not self._retired:
            self._dirty = True
            asyncio.get_running_loop().call_soon(self._publish)

    async def run(self) -> None:
        """Run the pod to its end, whatever that is, and free what it held."""
        try:
            refused = _unsupported(self.pod)
            if refused:
                self._refuse(refused)
            self.address = self._addresses.take(wished(self.pod))
            renewing = asyncio.create_task(self._refresh_volumes())
            try:
                while not self._ending.is_set() and not self._finished:
                    await self._one_life()
            finally:
                renewing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await renewing
            await self._ending.wait()
        finally:
            self._retire()

    # One sandbox's life

    async def _one_life(self) -> None:
        sandbox = await self._prepare()
        if sandbox is None:
            return
        lost = asyncio.shield(sandbox.ended)
        ending = asyncio.ensure_future(self._ending.wait())
        tasks: list[asyncio.Task[None]] = []
        running = asyncio.ensure_future(self._run_containers(tasks))
        late = asyncio.ensure_future(self._deadline())
        first: set[asyncio.Future[Any]] = {lost, ending, running, late}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            over = running.done() or late.done()
            if running.done():
                running.result()  # an error of this engine is not the end of a pod
            if lost.done():
                over = over or self.pod["spec"].get("restartPolicy") == "Never"
                self.events.normal(
                    self.pod,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                )
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await self._stop_containers(0.0 if lost.done() else None)
            await asyncio.gather(*tasks)
            self._finished = over
        finally:
            for future in (*first, *tasks):
                future.cancel()
            await asyncio.gather(*first, *tasks, return_exceptions=True)
            sandbox.kill()
        self.changed()

    async def _prepare(self) -> Process | None:
        """Volumes and sandbox; None when the pod was to end meanwhile."""
        self.changed()
        while not self._ending.is_set():
            try:
                self.volumes.prepare()
                self._volumes_made = True
                self._sandbox = await self.starter.sandbox({
                    "address": self.address,
                    "hostname": environment.hostname(self.pod),
                    "sysctls": _sysctls(self.pod),
                    "share_pids": container_spec.shares_pids(self.pod),
                })  # fmt: skip
            except (ClusterError, OSError) as error:
                missing = isinstance(error, environment.ConfigMissing)
                reason = "FailedMount" if missing else "FailedCreatePodSandBox"
                self.events.warning(self.pod, reason, str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S):
                        await self._ending.wait()
            else:
                self.pod.setdefault("status", {})["podIP"] = self.address
                self.pod["status"]["hostIP"] = NODE_ADDRESS
                return self._sandbox
        return None

    async def _deadline(self) -> None:
        """Return once the pod's activeDeadlineSeconds are over; never when it has none."""
        limit_s = self.pod["spec"].get("activeDeadlineSeconds")
        if limit_s is None:
            await self._removed.wait()
            return
        await asyncio.sleep(float(limit_s))
        text = "Pod was active on the node longer than the specified deadline"
        self._failure = ("DeadlineExceeded", text)
        self.events.warning(self.pod, "DeadlineExceeded", text)

    def _refuse(self, what: str) -> None:
        text = f"the embedded engine has no {what}: leave it out, or take another cluster"
        self._failure = ("NotSupported", text)
        self._finished = True
        self.events.warning(self.pod, "NotSupported", text)
        self.changed()

    async def _run_containers(self, tasks: list[asyncio.Task[None]]) -> None:
        """
        Start all in order, and wait until nothing but sidecars is left.

        tasks: gets a task for each container that runs beside others; the caller awaits them after
            it has stopped the containers.
        """
        for runner in self.runners:
            if runner.role is Role.SIDECAR:
                tasks.append(asyncio.ensure_future(runner.run()))
                await runner.up.wait()
            elif runner.role is Role.INIT:
                task = asyncio.ensure_future(runner.run())
                tasks.append(task)
                await asyncio.shield(task)
                if runner.exit_code != 0:
                    return
        mains = [
            asyncio.ensure_future(runner.run())
            for runner in self.runners
            if runner.role is Role.MAIN
        ]
        tasks += mains
        await asyncio.wait(mains)

    async def _stop_containers(self, grace_s: float | None) -> None:
        """Main and init containers together, then sidecars, the last one first."""
        loop = asyncio.get_running_loop()
        if grace_s is None:
            grace_s = self._grace_s()
        deadline_s = loop.time() + grace_s
        first = [runner for runner in self.runners if runner.role is not Role.SIDECAR]
        await self._stop_or_kill(first, grace_s)
        for runner in reversed(self.runners):
            if runner.role is Role.SIDECAR:
                left_s = deadline_s - loop.time()
                least_s = _LEAST_SIDECAR_GRACE_S if grace_s else 0.0
                await self._stop_or_kill([runner], max(left_s, least_s))

    async def _stop_or_kill(self, runners: list[ContainerRunner], grace_s: float) -> None:
        stopping = asyncio.ensure_future(
            asyncio.gather(*(runner.stop(grace_s) for runner in runners))
        )
        removed = asyncio.ensure_future(self._removed.wait())
        either: set[asyncio.Future[Any]] = {stopping, removed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            for runner in runners:
                runner.kill()
        removed.cancel()
        await stopping

    def _grace_s(self) -> float:
        metadata = self.pod["metadata"]
        if self._removed.is_set():
            return 0.0
        if "deletionTimestamp" in metadata:
            return float(metadata.get("deletionGracePeriodSeconds") or 0)
        grace_s = self.pod["spec"].get("terminationGracePeriodSeconds")
        return 30.0 if grace_s is None else float(grace_s)

    # Volumes

    async def _refresh_volumes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                left_s = self.volumes.renew_at_s - time.time()
                async with asyncio.timeout(min(left_s, 3600.0)):
                    await self._volumes_changed.wait()
            self._volumes_changed.clear()
            if not self._volumes_made:
                continue  # what makes them reads what is there then
            try:
                self.volumes.refresh(self.pod)
            except (ClusterError, NotFound, OSError) as error:
                self.events.warning(self.pod, "FailedMount", str(error))
                self.volumes.renew_at_s = time.time() + _RETRY_S

    # Status

    def _publish(self) -> None:
        self._dirty = False
        if self._retired or self._removed.is_set():
            return
        metadata = self.pod["metadata"]
        try:
            stored = self._store.get(_PODS, metadata["namespace"], metadata["name"])
        except NotFound:
            return
        if stored["metadata"]["uid"] != metadata["uid"]:
            return
        stored["status"] = pod_status.compute(
            stored,
            self.runners,
            address=self.address if self._sandbox is not None else "",
            host_address=NODE_ADDRESS,
            finished=self._finished,
            failure=self._failure,
        )
        self.pod["status"] = stored["status"]
        self._store.update(_PODS, stored, subresource="status")

    def _retire(self) -> None:
        """The containers are gone: say so for the last time, and let the object go."""
        try:
            self._publish()
        finally:
            self._retired = True
            self._addresses.give_back(self.address)
            self.volumes.remove()
        metadata = self.pod["metadata"]
        if self._removed.is_set():
            return
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        with contextlib.suppress(NotFound):
            self._store.delete(_PODS, metadata["namespace"], metadata["name"], options=options)

    def _make_runners(self) -> list[ContainerRunner]:
        spec = self.pod["spec"]
        runners = []
        for each in spec.get("initContainers") or ():
            role = Role.SIDECAR if each.get("restartPolicy") == "Always" else Role.INIT
            runners.append(ContainerRunner(self, each, role))
        runners += [ContainerRunner(self, each, Role.MAIN) for each in spec["containers"]]
        return runners


def _containers(pod: Obj) -> list[Obj]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]


def _unsupported(pod: Obj) -> str:
    """What the pod asks for and cannot have here; empty when that is nothing."""
    asked = ("hostNetwork", "hostPID", "hostIPC", "ephemeralContainers", "runtimeClassName")
    return ", ".join(f"spec.{name}" for name in asked if pod["spec"].get(name))


def _sysctls(pod: Obj) -> dict[str, str]:
    security = pod["spec"].get("securityContext") or {}
    # As container runtimes set them: a container may bind low ports without a capability.
    defaults = {"net.ipv4.ip_unprivileged_port_start": "0"}
    return defaults | {each["name"]: each["value"] for each in security.get("sysctls") or ()}
