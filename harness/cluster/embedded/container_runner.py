"""
One container of a pod over its whole life: starts, probes, restarts, and its end.

The rules are the kubelet's: the first restart is immediate, later ones wait 10 s, doubling up to
5 minutes; a container that ran for 10 minutes starts over. Reasons and event texts are its, too,
since people search for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from harness.cluster.embedded import container_spec, environment, probes
from harness.cluster.embedded.container_run import (
    ContainerRun,
    MountNamespace,
    make_message_file,
)
from harness.cluster.embedded.logs import ContainerLog
from harness.cluster.embedded.racing import first_of
from harness.errors import ClusterError

if TYPE_CHECKING:
    from harness.cluster.embedded.cgroups import Cgroups
    from harness.cluster.embedded.environment import Sources
    from harness.cluster.embedded.events import Events
    from harness.cluster.embedded.images import Images
    from harness.cluster.embedded.processes import Process, ProcessStarter
    from harness.cluster.embedded.store import Obj
    from harness.cluster.embedded.volumes import PodVolumes

__all__ = ["ContainerRunner", "PodContext", "Role"]

_FIRST_BACK_OFF_S = 10.0
_LONGEST_BACK_OFF_S = 300.0
_FORGIVEN_AFTER_S = 600.0
_RETRY_S = 1.0
"""Between looks for a missing config map or secret; the change itself is not waited for."""


class Role(Enum):
    """What a container is to its pod."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


class PodContext(Protocol):
    """What a container needs of its pod's worker."""

    pod: Obj
    images: Images
    starter: ProcessStarter
    events: Events
    volumes: PodVolumes
    sources: Sources
    cgroups: Cgroups

    @property
    def address(self) -> str:
        """The pod's address."""

    @property
    def sandbox(self) -> Process:
        """The process that holds the pod's namespaces."""

    def changed(self) -> None:
        """Have the pod's status written again."""


class ContainerRunner:
    """Runs one container. What is public here is read by the pod's status."""

    def __init__(self, context: PodContext, spec: Obj, role: Role) -> None:
        self.spec = spec
        self.role = role
        self.name: str = spec["name"]
        self.state: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}
        if role is not Role.MAIN or not context.pod["spec"].get("initContainers"):
            self.state = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: dict[str, Any] = {}
        self.restarts = 0
        self.ready = False
        self.started = False
        self.exit_code: int | None = None
        """Of the last run, when it ended."""
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.up = asyncio.Event()
        """Set while the container is started, its startup probe included."""
        self.identity = ""
        self._context = context
        self._current: ContainerRun | None = None
        self._stopping = asyncio.Event()
        self._runs = 0
        self._back_off_s = 0.0
        self._replacing: asyncio.Task[None] | None = None
        """Ends the run whose specification has changed; awaited by `_attend`."""

    @property
    def done(self) -> bool:
        """Ended for good."""
        return "terminated" in self.state and not self._restarts()

    @property
    def mount_namespace(self) -> int:
        """Inode of the mount namespace of the run that is on; 0 when none is."""
        return self._current.namespace.inode if self._current else 0

    async def run(self) -> None:
        """Run the container until it has ended for good or `stop` was called."""
        self._stopping.clear()
        while not self._stopping.is_set():
            run = await self._start()
            if run is None:
                return
            if self._stopping.is_set() or run.spec is not self.spec:
                # Decided while it was being forked, when there was no process to end yet.
                run.process.kill()
            ran_s = await self._attend(run)
            if self._stopping.is_set() or not self._restarts():
                return
            if ran_s >= _FORGIVEN_AFTER_S:
                self._back_off_s = 0.0
            await self._back_off()

    async def stop(self, grace_s: float, why: str = "") -> None:
        """End the container: preStop hook, SIGTERM, and SIGKILL after `grace_s` seconds."""
        self._stopping.set()
        if self._current is not None:
            await self._end(self._current, grace_s, why or f"Stopping container {self.name}")

    def replace(self, spec: Obj) -> None:
        """Take a changed specification: the container ends, and starts again as it says."""
        self.spec = spec
        if self._current is not None:
            why = f"Container {self.name} definition changed, will be restarted"
            self._replacing = asyncio.create_task(self._end(self._current, self._grace_s(), why))

    def kill(self) -> None:
        """End it at once; what follows is as if it had died by itself."""
        if self._current is not None:
            self._current.process.kill()

    # Starting

    async def _start(self) -> ContainerRun | None:
        """Start, trying again until it is possible; None when told to stop meanwhile."""
        while not self._stopping.is_set():
            image = self._context.images.get(self.spec["image"])
            if image is None:
                await self._wait_for_image()
                continue
            self._event("Pulled", f'Container image "{image.reference}" already present on machine')
            try:
                env = environment.environment(
                    self._context.pod, self.spec, self._context.sources, image.env
                )
                request = container_spec.request(
                    self._context.pod, self.spec, image, env, self._context.volumes
                )
                make_message_file(request["message_file"])
                return await self._launch(request)
            except (ClusterError, OSError) as error:
                missing = isinstance(error, environment.ConfigMissing)
                self._wait(
                    "CreateContainerConfigError" if missing else "CreateContainerError", str(error)
                )
                self._event("Failed", f"Error: {error}", warning=True)
                await self._stopped_within(_RETRY_S if missing else _FIRST_BACK_OFF_S)
        return None

    async def _wait_for_image(self) -> None:
        images, reference = self._context.images, self.spec["image"]
        why = images.missing(reference)
        loaded = images.next_load()
        self._wait("ErrImagePull", why)
        self._event("Failed", f'Failed to pull image "{reference}": {why}', warning=True)
        await first_of(loaded.wait(), self._stopping.wait(), timeout_s=_RETRY_S)
        if not loaded.is_set() and not self._stopping.is_set():
            self._wait("ImagePullBackOff", why)
            self._event("BackOff", f'Back-off pulling image "{reference}"')
            await first_of(loaded.wait(), self._stopping.wait())

    async def _launch(self, request: dict[str, Any]) -> ContainerRun:
        spec, identity = self.spec, secrets.token_hex(32)
        request = {
            **request,
            "sandbox": self._context.sandbox.pid,
            "cgroups": self._limit(identity, request["limits"]),
        }
        log = ContainerLog()
        output = log.pipe()
        try:
            process = await self._context.starter.container(request, output)
        finally:
            os.close(output)
        run = ContainerRun(spec, process, log, request, identity, MountNamespace(process.pid))
        self._current = run
        if self._runs:
            self.restarts += 1
            self.last_state = self.state if "terminated" in self.state else self.last_state
        self._runs += 1
        self.previous_log, self.log = self.log, log
        self.identity = f"meshmark://{run.identity}"
        self._event("Created", f"Created container: {self.name}")
        self._event("Started", f"Started container {self.name}")
        self.state = {"running": {"startedAt": run.started_at}}
        self._context.changed()
        return run

    def _limit(self, identity: str, limits: dict[str, float]) -> list[str]:
        if not limits:
            return []
        cgroups, memory = self._context.cgroups, limits.get("memory")
        try:
            joined = cgroups.limit(
                identity,
                cpu=limits.get("cpu"),
                memory_bytes=None if memory is None else int(memory),
            )
        except OSError as error:
            self._event("LimitsNotEnforced", f"limits cannot be set: {error}", warning=True)
            return []
        if not joined:
            text = "this machine lets no control groups be made: limits are not enforced"
            self._event("LimitsNotEnforced", text, warning=True)
        return joined

    # Running

    async def _attend(self, run: ContainerRun) -> float:
        """Probe until the container ends; how long it ran, in seconds."""
        began_s = asyncio.get_running_loop().time()
        watching = asyncio.ensure_future(self._watch(run))
        try:
            await asyncio.shield(run.process.ended)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        if self._replacing is not None:
            await self._replacing
            self._replacing = None
        run.kill_orphans()
        await run.log_whole()
        self._current = None
        self.up.clear()
        self.ready = self.started = False
        self.exit_code = run.process.ended.result()
        starved = self._context.cgroups.killed_for_memory(run.identity)
        self._context.cgroups.release(run.identity)
        self.state = {"terminated": run.last_state(starved=starved)}
        if run.process.failed:
            self._event("Failed", f"Error: {run.process.failed}", warning=True)
        self._context.changed()
        return asyncio.get_running_loop().time() - began_s

    async def _watch(self, run: ContainerRun) -> None:
        """Post-start hook and startup probe, then readiness and liveness for good."""
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook is not None and not await self._post_start(run, hook):
            return
        startup = self.spec.get("startupProbe")
        if startup is not None:
            await self._probe(run, "Startup", startup, self._on_startup)
        else:
            self._on_startup(True, "")
        async with asyncio.TaskGroup() as group:
            readiness, liveness = self.spec.get("readinessProbe"), self.spec.get("livenessProbe")
            if readiness is not None:
                group.create_task(self._probe(run, "Readiness", readiness, self._on_readiness))
            if liveness is not None:
                group.create_task(self._probe(run, "Liveness", liveness, _ignore))

    async def _probe(self, run: ContainerRun, kind: str, probe: Obj, react: Any) -> None:
        failing = asyncio.Event()

        def tell(succeeded: bool, why: str) -> None:
            if not succeeded:
                self._event("Unhealthy", f"{kind} probe failed: {why}", warning=True)
                failing.set()
            react(succeeded, why)

        async def attempt() -> None:
            await probes.check_handler(
                probe,
                self.spec,
                self._context.address,
                lambda command: run.exec(self._context.starter, command),
                float(probe.get("timeoutSeconds") or 1),
            )

        watching = probes.watch(probe, attempt, tell, once=kind == "Startup")
        if kind == "Readiness":
            await watching
            return
        await first_of(watching, failing.wait())
        if failing.is_set():
            grace_s = probe.get("terminationGracePeriodSeconds")
            what = f"Container {self.name} failed {kind.lower()} probe, will be restarted"
            await self._end(run, self._grace_s() if grace_s is None else grace_s, what)

    def _on_startup(self, succeeded: bool, _: str) -> None:
        if succeeded:
            self.started = True
            self.ready = self.spec.get("readinessProbe") is None
            self.up.set()
            self._context.changed()

    def _on_readiness(self, succeeded: bool, _: str) -> None:
        if self.ready is not succeeded:
            self.ready = succeeded
            self._context.changed()

    async def _post_start(self, run: ContainerRun, hook: Obj) -> bool:
        try:
            await self._hook(run, hook, self._grace_s())
        except ClusterError as error:
            self._event("FailedPostStartHook", f"PostStartHook failed: {error}", warning=True)
            await self._end(run, self._grace_s(), "FailedPostStartHook")
            return False
        return True

    # Ending

    async def _end(self, run: ContainerRun, grace_s: float, why: str) -> None:
        loop = asyncio.get_running_loop()
        if not run.process.running:
            return
        self._event("Killing", why)
        deadline_s = loop.time() + grace_s
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook is not None and grace_s > 0:
            ended = asyncio.shield(run.process.ended)
            await first_of(self._pre_stop(run, hook, grace_s), ended)
        run.process.send(signal.SIGTERM)
        left_s = max(0.0, deadline_s - loop.time())
        await asyncio.wait({run.process.ended}, timeout=left_s)
        run.process.kill()
        await asyncio.shield(run.process.ended)

    async def _pre_stop(self, run: ContainerRun, hook: Obj, limit_s: float) -> None:
        try:
            await self._hook(run, hook, limit_s)
        except Exception as error:  # whatever is wrong with its hook, the container ends
            self._event("FailedPreStopHook", f"PreStopHook failed: {error}", warning=True)

    async def _hook(self, run: ContainerRun, hook: Obj, limit_s: float) -> None:
        if "sleep" in hook:
            await asyncio.sleep(min(float(hook["sleep"]["seconds"]), limit_s))
            return
        await probes.check_handler(
            hook,
            self.spec,
            self._context.address,
            lambda command: run.exec(self._context.starter, command),
            limit_s,
        )

    async def _back_off(self) -> None:
        """Wait before the next start; not at all before the first restart."""
        if self._back_off_s:
            pod = self._context.pod["metadata"]
            name = f"{pod['name']}_{pod['namespace']}({pod['uid']})"
            self.last_state = self.state
            why = f"back-off {self._back_off_s:g}s restarting failed container={self.name}"
            self._wait("CrashLoopBackOff", f"{why} pod={name}")
            self._event(
                "BackOff",
                f"Back-off restarting failed container {self.name} in pod {name}",
                warning=True,
            )
            await self._stopped_within(self._back_off_s)
        doubled_s = self._back_off_s * 2 or _FIRST_BACK_OFF_S
        self._back_off_s = min(doubled_s, _LONGEST_BACK_OFF_S)

    def _restarts(self) -> bool:
        policy = self._context.pod["spec"].get("restartPolicy", "Always")
        if self.role is Role.SIDECAR:
            return True
        if policy == "Always" and self.role is Role.MAIN:
            return True
        return policy != "Never" and self.exit_code != 0

    def _grace_s(self) -> float:
        grace_s = self._context.pod["spec"].get("terminationGracePeriodSeconds")
        return 30.0 if grace_s is None else float(grace_s)

    def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self._context.changed()

    async def _stopped_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        group = "containers" if self.role is Role.MAIN else "initContainers"
        record = self._context.events.warning if warning else self._context.events.normal
        record(self._context.pod, reason, message, f"spec.{group}{{{self.name}}}")


def _ignore(_: bool, __: str) -> None:
    pass
