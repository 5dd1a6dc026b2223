"""The program as a container runs it: start, readiness, end."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING

from harness.workload import Plan, Workload
from tests.workload.conftest import PORTS, SERVE, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.workload.conftest import Running


def test_calls_before_listening_and_after_draining(server: Running, program: Path) -> None:
    """What a container does at its start and at its end is in its output."""
    plan = Plan(url=server.url(), id="hook").json().decode()
    subprocess.run([program, "call", plan], check=True, capture_output=True)
    hooks = ("--on-term", plan)
    with running(program, "serve", *SERVE, *PORTS, *hooks) as process:
        printed = process.terminate()

    assert [line["event"] for line in printed] == ["terminating", "drained", "term"]
    assert printed[-1]["outcome"]["status"] == 200


def test_a_call_that_fails_is_an_exit_code(program: Path) -> None:
    """As an init container the program ends with 1 when it reached nobody."""
    plan = Plan(url="http://127.0.0.1:1/").json().decode()
    completed = subprocess.run([program, "call", plan], capture_output=True, check=False)

    assert completed.returncode == 1
    assert json.loads(completed.stdout)["outcome"]["error"]["kind"] == "refused"


def test_readiness_can_be_late(program: Path) -> None:
    """A pod that needs time is not ready, though it listens."""
    with running(program, "serve", *SERVE, *PORTS, "--ready-after", "1m") as process:
        workload = Workload(process.open, "test/late")
        assert not workload.is_ready()
        assert workload.one(Plan(url=process.url())).ok


def test_a_port_in_use_is_named(server: Running, program: Path) -> None:
    """The program says which address it could not have."""
    completed = subprocess.run(
        [program, "serve", *SERVE, "--http", str(server.ports["http"])],
        capture_output=True,
        check=False,
        text=True,
    )

    assert completed.returncode == 1
    assert f"127.0.0.1:{server.ports['http']}" in completed.stderr


def test_a_relay_copies_both_ways(server: Running, program: Path) -> None:
    """A request through two of them is answered as one without."""
    to = f"127.0.0.1:{server.ports['http']}"
    with relaying(program, to) as far, relaying(program, far) as near:
        workload = Workload(server.open, "test/relayed")
        direct = workload.one(Plan(url=server.url(path="/direct")))
        relayed = workload.one(Plan(url=f"http://{near}/relayed", id="relayed"))
        assert (relayed.ok, relayed.status) == (direct.ok, 200)


def test_a_wrong_command_line_is_named(program: Path) -> None:
    """A mistake is a usage error with the word that is wrong."""
    completed = subprocess.run(
        [program, "serve", "--htpp", "1"], capture_output=True, check=False, text=True
    )

    assert completed.returncode == 64
    assert "--htpp" in completed.stderr


def test_memory_of_the_ledger_is_bounded(program: Path) -> None:
    """Old records make room for new ones, and the loss is counted."""
    with running(program, "serve", *SERVE, *PORTS, "--ledger-bytes", "20000") as process:
        workload = Workload(process.open, "test/small")
        workload.call(Plan(url=process.url(), count=100))
        ledger = workload.settled()

    assert ledger.summary.last == 100
    assert ledger.summary.dropped + len(ledger.attempts) == 100
    assert ledger.summary.dropped > 0


@contextlib.contextmanager
def relaying(program: Path, to: str) -> Iterator[str]:
    """A relay to this address, at the address that is yielded."""
    command = [program, "relay", "--listen", "127.0.0.1:0", "--to", to]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()
