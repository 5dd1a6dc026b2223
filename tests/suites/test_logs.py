"""Reading logs for what should not be there, and the registry of what may."""

from __future__ import annotations

import contextlib
import queue
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import httpx2
import msgspec
import pytest
from lightkube.core.exceptions import ApiError
from lightkube.models.core_v1 import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    PodStatus,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from harness.errors import ClusterError
from harness.waiting import until
from suites.conformance import exceptions
from suites.logbook import Entry, Logbook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.cluster import Cluster


class OnePod:
    """A cluster with one pod, whose container `c` logs what it is given until it ends."""

    def __init__(self, log: str | None, restarts: int = 0, previous: str = "") -> None:
        self.log = log
        self.previous = previous
        self.to_come: queue.Queue[str | Exception | None] = queue.Queue()
        ended = ContainerStateTerminated(exitCode=137, reason="Error", containerID="c0")
        status = ContainerStatus(
            name="c", image="i", imageID="", ready=True, restartCount=restarts, containerID="c1",
            state=ContainerState(running=ContainerStateRunning()),
            lastState=ContainerState(terminated=ended if restarts else None),
        )  # fmt: skip
        self.pods = [
            Pod(
                metadata=ObjectMeta(name="p", uid="u"),
                status=PodStatus(containerStatuses=[status]),
            )
        ]

    def client(self) -> object:
        return SimpleNamespace(list=lambda *_, **__: self.pods, get=self._get)

    def _get(self, *_: object, **__: object) -> Pod:
        if not self.pods:
            request = httpx2.Request("GET", "http://api/")
            raise ApiError(request, httpx2.Response(404, json={"code": 404}, request=request))
        return self.pods[0]

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        if self.log is None:
            raise ClusterError("has not started")
        return self.previous if previous else self.log

    @contextlib.contextmanager
    def following(self, namespace: str, pod: str, container: str) -> Iterator[FollowedByQueue]:
        if not self.pods:
            raise ClusterError("there is no such pod")
        yield FollowedByQueue((self.log or "").splitlines(), self.to_come)


class FollowedByQueue:
    def __init__(self, lines: list[str], to_come: queue.Queue[str | Exception | None]) -> None:
        self.lines = lines
        self.to_come = to_come

    def __iter__(self) -> Iterator[str]:
        yield from self.lines
        while (line := self.to_come.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield line

    def end(self) -> None:
        self.to_come.put(httpx2.ReadError("ended"))


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


def test_what_a_container_logged_before_its_restart_counts() -> None:
    pod = OnePod("INFO fine", restarts=1, previous="thread 'main' panicked at x.rs:1:1:")
    assert entries(pod) == [
        "restarted 1 times: Error (137)",
        "thread 'main' panicked at x.rs:1:1:",
    ]


def test_what_is_read_twice_counts_once() -> None:
    pod = OnePod("ERROR once", restarts=1, previous="ERROR before")
    logbook = Logbook()
    for _ in range(2):
        logbook.read(cast("Cluster", pod), "n")
    found = [entry.text for entry in logbook.entries]
    assert found == ["restarted 1 times: Error (137)", "ERROR before", "ERROR once"]
    assert logbook.lines_read == 2


def test_a_pod_is_read_until_it_has_ended() -> None:
    pod = OnePod("INFO up")
    cluster = cast("Cluster", pod)
    with Logbook() as logbook:
        logbook.follow(cluster, "n")
        logbook.follow(cluster, "n")
        pod.pods.clear()
        pod.to_come.put("ERROR on the way out")
        pod.to_come.put(None)
        assert logbook.settle(cluster, timeout_s=2.0) == []
        assert [entry.text for entry in logbook.entries] == ["ERROR on the way out"]
        assert logbook.lines_read == 2


def test_a_broken_connection_is_made_again_while_the_pod_is_there() -> None:
    pod = OnePod("ERROR early")
    cluster = cast("Cluster", pod)
    with Logbook() as logbook:
        logbook.follow(cluster, "n")
        pod.to_come.put(httpx2.ReadTimeout("silent"))
        pod.to_come.put("ERROR late")
        pod.to_come.put(None)
        until(lambda: logbook.lines_read == 2, what="both lines", timeout_s=2.0)
        assert [entry.text for entry in logbook.entries] == ["ERROR early", "ERROR late"]


def test_a_log_that_could_not_be_read_to_its_end_is_told() -> None:
    pod = OnePod("INFO up")
    cluster = cast("Cluster", pod)
    with Logbook() as logbook:
        logbook.follow(cluster, "n")
        pod.pods.clear()
        pod.to_come.put(httpx2.ReadError("broken"))
        assert logbook.settle(cluster, timeout_s=2.0) == ["n/p c: broken"]


def test_who_stays_is_not_waited_for_and_no_thread_is_left() -> None:
    pod = OnePod("INFO up")
    cluster = cast("Cluster", pod)
    threads = threading.active_count()
    with Logbook() as logbook:
        logbook.follow(cluster, "n")
        assert threading.active_count() == threads + 1
        assert logbook.settle(cluster, timeout_s=0.0) == []
    assert threading.active_count() == threads


def test_a_container_without_log_is_passed_over() -> None:
    assert entries(OnePod(None)) == []


def test_an_exception_covers_what_it_names_only() -> None:
    excused = exceptions.read()
    restart = Entry("lc-06", "server", "linkerd-proxy", "restarted 1 times: Error (137)")
    assert excused.covers(restart)
    assert not excused.covers(Entry("world", "server", "linkerd-proxy", restart.text))
    assert not excused.covers(Entry("lc-06", "server", "linkerd-proxy", "ERROR x"))
    assert not excused.covers(Entry("lc-06", "server", "app", restart.text))


@pytest.mark.parametrize(
    ("namespace", "text", "covered"),
    [
        ("lc-06", "restarted 1 times: Error (137)", True),
        ("lc-06", "restarted 2 times: Error (137)", False),
        ("lc-06", "restarted 1 times: Error (139)", False),
        ("lc-06", "restarted 1 times: OOMKilled (137)", False),
        ("lc-04", "restarted 1 times: Completed (0)", True),
        ("lc-04", "restarted 1 times: Error (101)", False),
        ("lc-09", "restarted 1 times: Error (137)", False),
    ],
)
def test_a_sidecar_may_end_only_as_the_check_ends_it(
    namespace: str, text: str, covered: bool
) -> None:
    entry = Entry(namespace, "server", "linkerd-proxy", text)
    assert exceptions.read().covers(entry) is covered


@pytest.mark.parametrize(
    ("container", "error", "covered"),
    [
        ("linkerd-proxy", 'status: Unknown, message: "service in fail-fast"', True),
        ("linkerd-proxy", "code: 'The service is currently unavailable'", True),
        ("linkerd-proxy", "certificate already expired", False),
        ("linkerd-proxy", "No such file or directory (os error 2)", False),
        ("app", 'status: Unknown, message: "service in fail-fast"', False),
    ],
)
def test_a_real_proxy_may_say_that_a_call_for_a_certificate_failed(
    container: str, error: str, covered: bool
) -> None:
    line = (
        "[     1.204151s] ERROR ThreadId(02) identity: linkerd_proxy_identity_client::certify: "
        f"Failed to obtain identity error={error}"
    )
    (text,) = entries(OnePod(line))
    assert exceptions.read().covers(Entry("world", "client", container, text)) is covered


def test_an_exception_may_look_at_the_end_of_a_long_line() -> None:
    line = (
        'level=error msg="issuer refused" error="no root of the trust bundle has issued '
        f'{"x" * 600}" signing={{signing}}'
    )
    for signing, covered in (("True", True), ("False", False)):
        (text,) = entries(OnePod(line.format(signing=signing)))
        entry = Entry("linkerd", "linkerd-identity-1", "identity", text)
        assert exceptions.read().covers(entry) is covered


def test_an_exception_without_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log-exceptions.toml"
    path.write_text("[[exception]]\ntext = 'x'\n")
    with pytest.raises(msgspec.ValidationError, match="reason"):
        exceptions.read(path)
