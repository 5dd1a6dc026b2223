"""Reading logs for what should not be there, and the registry of what may."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from lightkube.models.core_v1 import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    PodStatus,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from harness.errors import ClusterError
from suites.conformance import exceptions
from suites.logbook import Entry, Logbook

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cluster import Cluster


class OnePod:
    """A cluster with one pod, whose container `c` logs what it is given."""

    def __init__(self, log: str | None, restarts: int = 0) -> None:
        self.log = log
        ended = ContainerStateTerminated(exitCode=137, reason="Error")
        status = ContainerStatus(
            name="c", image="i", imageID="", ready=True, restartCount=restarts,
            lastState=ContainerState(terminated=ended if restarts else None),
        )  # fmt: skip
        self.pod = Pod(metadata=ObjectMeta(name="p"), status=PodStatus(containerStatuses=[status]))

    def client(self) -> object:
        return SimpleNamespace(list=lambda *_, **__: [self.pod])

    def logs(self, namespace: str, pod: str, container: str) -> str:
        if self.log is None:
            raise ClusterError("has not started")
        return self.log


def entries(pod: OnePod) -> list[str]:
    logbook = Logbook()
    logbook.read(cast("Cluster", pod), "n")
    return [entry.text for entry in logbook.entries]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-23T18:03:06.307818Z ERROR meshmark_proxy::outbound: no",
        'time=2026-11-23T18:03:06Z level=error msg="no"',
        '{"level":"error","msg":"no"}',
        "thread 'main' panicked at src/main.rs:1:1:",
        "Traceback (most recent call last):",
        (
            "W1129 reflector.go:561] failed to list *v1.Pod: pods is forbidden: User "
            '"system:serviceaccount:linkerd:linkerd-destination" cannot list resource "pods"'
        ),
        'level=warning msg="pods is forbidden: User \\"system:serviceaccount:a:b\\" cannot"',
    ],
)
def test_errors_of_all_kinds_of_programs_are_seen(line: str) -> None:
    assert entries(OnePod(f"fine\n{line}\nfine")) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "INFO no errors",
        'level=info msg="error budget is full"',
        '{"event":"listening","errors":0}',
        "GET /ERRORS 200",
    ],
)
def test_talk_of_errors_is_none(line: str) -> None:
    assert entries(OnePod(line)) == []


def test_restarts_are_told_with_how_the_last_one_ended() -> None:
    assert entries(OnePod("", restarts=2)) == ["restarted 2 times: Error (137)"]


def test_a_container_without_log_is_passed_over() -> None:
    assert entries(OnePod(None)) == []


def test_an_exception_covers_what_it_names_only() -> None:
    excused = exceptions.read()
    restart = Entry("lc-06", "server", "linkerd-proxy", "restarted 1 times: Error (137)")
    assert excused.covers(restart)
    assert not excused.covers(Entry("world", "server", "linkerd-proxy", restart.text))
    assert not excused.covers(Entry("lc-06", "server", "linkerd-proxy", "ERROR x"))


def test_an_exception_without_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log-exceptions.toml"
    path.write_text("[[exception]]\ntext = 'x'\n")
    with pytest.raises(msgspec.ValidationError, match="reason"):
        exceptions.read(path)
