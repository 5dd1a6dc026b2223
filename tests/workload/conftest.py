"""The real program on loopback ports of the system's choice."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from harness import toolchain
from harness.errors import MeshmarkError
from harness.workload import Helper, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator


class Running:
    """A process of the program: its control port and the ports of each kind of speech."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        self.ctrl: int = facts["ctrl"]
        self.ports: dict[str, int] = {port["speech"]: port["port"] for port in facts["ports"]}

    def open(self) -> httpx2.Client:
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.ctrl}", trust_env=False)

    def url(self, speech: str = "http", path: str = "/") -> str:
        scheme = "http" if speech == "http" else "tcp"
        return f"{scheme}://127.0.0.1:{self.ports[speech]}{path}"

    def terminate(self) -> list[Any]:
        """Send SIGTERM, wait for the end, and return what was printed since the start."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=10)
        return [json.loads(line) for line in output.splitlines()]


@functools.cache
def build() -> Path:
    return toolchain.build("meshmark-workload")["meshmark-workload"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile before the first test, whose time limit is not meant for that."""
    here = Path(__file__).parent
    mine = any(item.path.is_relative_to(here) for item in session.items)
    if mine and not session.config.option.collectonly:
        # The first test that needs the program reports what is wrong.
        with contextlib.suppress(MeshmarkError):
            build()


@pytest.fixture(scope="session")
def program() -> Path:
    return build()


@contextlib.contextmanager
def running(program: Path, *arguments: str) -> Iterator[Running]:
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield Running(process)
        finally:
            process.kill()


SERVE = ("--ctrl", "127.0.0.1:0", "--bind", "127.0.0.1")
PORTS = ("--http", "0", "--tcp", "0", "--banner", "0", "--pod", "pod-1")


@pytest.fixture
def server(program: Path) -> Iterator[Running]:
    with running(program, "serve", *SERVE, *PORTS) as process:
        yield process


@pytest.fixture
def workload(server: Running) -> Workload:
    return Workload(server.open, "test/pod-1")


@pytest.fixture
def client(program: Path) -> Iterator[Workload]:
    """Another workload, for tests in which the server ends."""
    with running(program, "serve", *SERVE, *PORTS) as process:
        yield Workload(process.open, "test/client")


@pytest.fixture
def helper(program: Path) -> Iterator[Helper]:
    with running(program, "helper", "--ctrl", "127.0.0.1:0") as process:
        yield Helper(process.open, "test/pod-1")
