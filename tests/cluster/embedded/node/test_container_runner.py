"""A container's life, over a node whose processes are only noted."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster.embedded import container_spec
from harness.cluster.embedded.api.node import Image
from harness.cluster.embedded.container_runner import ContainerRunner, Role
from harness.cluster.embedded.images import Images
from harness.cluster.embedded.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

IMAGE = "test:1"
KILLED = 137


class NotedProcess(Process):
    """Ends by any signal; its pid is one that no process has."""

    def __init__(self) -> None:
        super().__init__(pid=1 << 30)

    def send(self, number: int) -> None:
        if self.running:
            self.ended.set_result(KILLED)


class Starter:
    """Starts nothing, when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_start = asyncio.Event()
        self.started: asyncio.Queue[Process] = asyncio.Queue()
        self.commands: list[list[str]] = []

    async def container(self, request: Mapping[str, Any], _: int) -> Process:
        self.asked.set()
        await self.may_start.wait()
        self.commands.append(request["command"])
        process = NotedProcess()
        self.started.put_nowait(process)
        return process


class Quiet:
    """Takes the place of what these tests do not look at."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


class Context:
    """A pod with one container."""

    def __init__(self) -> None:
        self.pod = {
            "metadata": {"name": "a", "namespace": "shop", "uid": "u"},
            "spec": {"enableServiceLinks": False, "terminationGracePeriodSeconds": 1},
            "status": {"podIP": "10.244.0.9"},
        }
        self.images = Images()
        self.starter = Starter()
        self.events = self.sources = self.volumes = self.cgroups = Quiet()
        self.sandbox = NotedProcess()
        self.address = "10.244.0.9"
        self.told = asyncio.Event()

    def changed(self) -> None:
        """The status is to be written."""
        self.told.set()


@pytest.fixture(autouse=True)
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(container_spec, "STAGE", str(tmp_path))
    return tmp_path


def loaded(context: Context) -> Context:
    context.images.load([Image(reference=IMAGE, entrypoint=("run",))])
    return context


def runner(context: Context, **spec: Any) -> ContainerRunner:
    return ContainerRunner(context, {"name": "app", "image": IMAGE, **spec}, Role.MAIN)


def checked(check: Any) -> None:
    """Run, and fail where it hangs."""

    async def limited() -> None:
        async with asyncio.timeout(2):
            await check()

    asyncio.run(limited())


def test_a_container_that_is_stopped_while_it_starts_ends() -> None:
    async def check() -> None:
        context = loaded(Context())
        app = runner(context)
        life = asyncio.create_task(app.run())
        await context.starter.asked.wait()
        await app.stop(30)
        context.starter.may_start.set()
        await life

        assert app.exit_code == KILLED
        assert context.starter.started.qsize() == 1

    checked(check)


def test_a_specification_that_changes_while_it_starts_is_run_in_the_end() -> None:
    async def check() -> None:
        context = loaded(Context())
        app = runner(context, command=["old"])
        life = asyncio.create_task(app.run())
        await context.starter.asked.wait()
        app.replace({**app.spec, "command": ["new"]})
        context.starter.may_start.set()
        await context.starter.started.get()
        await context.starter.started.get()
        await app.stop(30)
        await life

        assert context.starter.commands == [["old"], ["new"]]

    checked(check)


def test_an_image_that_is_loaded_when_it_is_missed_is_run() -> None:
    async def check() -> None:
        context = Context()
        context.starter.may_start.set()
        app = runner(context)
        life = asyncio.create_task(app.run())
        await asyncio.sleep(0)  # it has looked, and its tasks that wait have not begun
        loaded(context)
        await context.starter.started.get()
        await app.stop(0)
        await life

        assert app.exit_code == KILLED

    checked(check)


def test_a_machine_s_error_is_waited_out_and_told(stage: Path) -> None:
    async def check() -> None:
        (stage / "pods").write_text("in the way of a folder")
        context = loaded(Context())
        app = runner(context)
        life = asyncio.create_task(app.run())
        await context.told.wait()
        await app.stop(0)
        await life

        assert app.state["waiting"]["reason"] == "CreateContainerError"
        assert os.strerror(20) in app.state["waiting"]["message"]

    checked(check)


def test_probes_leave_no_task_behind(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        context = loaded(Context())
        context.starter.may_start.set()
        never = {"exec": {"command": ["x"]}, "initialDelaySeconds": 1000}
        app = runner(context, livenessProbe=never)
        life = asyncio.create_task(app.run())
        await app.up.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        await app.stop(0)
        await life

        assert asyncio.all_tasks() == {asyncio.current_task()}

    checked(check)
    gc.collect()
    assert not caplog.records
