"""What the checks of a lane share: once up it stays, once lost it is not waited for again."""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from harness.cluster import api_cluster
from harness.cluster.api_cluster import ApiCluster
from harness.cluster.kubeconfig import kubeconfig
from harness.errors import ClusterError, NotInTime, Unsupported
from harness.record.catalogue import Lane
from suites import conftest as suite_conftest
from suites.lab import Lab
from suites.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lanes_that_fail(error: BaseException) -> tuple[Lanes[str], list[Lane]]:
    tried: list[Lane] = []

    @contextlib.contextmanager
    def make(lane: Lane) -> Iterator[str]:
        tried.append(lane)
        if lane is Lane.STEADY:
            raise error
        yield f"lab of {lane}"

    return Lanes("cluster", make), tried


@pytest.mark.parametrize(
    "error",
    [
        NotInTime("node image: not within 120 s. Seen:\n  after 0.1 s: nothing"),
        pytest.fail.Exception("node image: Timeout (>600.0s) from pytest-timeout."),
    ],
)
def test_what_cannot_come_up_is_tried_once_for_each_lane(error: BaseException) -> None:
    lanes, tried = lanes_that_fail(error)
    with lanes:
        with pytest.raises(type(error)) as first:
            lanes.of(Lane.STEADY)
        with pytest.raises(ClusterError, match="lane steady has no cluster: node image: ") as later:
            lanes.of(Lane.STEADY)
        assert [lanes.of(Lane.SHORT), lanes.of(Lane.SHORT)] == ["lab of short"] * 2
    assert first.value is error
    assert "\n" not in str(later.value)
    assert tried == [Lane.STEADY, Lane.SHORT]


def test_what_a_mesh_does_not_claim_is_unsupported_for_all() -> None:
    lanes, _ = lanes_that_fail(Unsupported("mutant", "there is no mesh in this arm"))
    with lanes:
        for _ in range(2):
            with pytest.raises(Unsupported, match="mutant: there is no mesh in this arm"):
                lanes.of(Lane.STEADY)


def test_an_interrupt_is_nothing_to_remember() -> None:
    lanes, tried = lanes_that_fail(KeyboardInterrupt())
    with lanes:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                lanes.of(Lane.STEADY)
    assert tried == [Lane.STEADY] * 2


def test_an_api_that_stops_answering_is_told_and_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener takes connections, as that of a stopped process does, and says nothing."""
    monkeypatch.setattr(api_cluster, "_TIMEOUT", httpx2.Timeout(0.1))
    monkeypatch.setattr(api_cluster, "_ANSWERS_S", 0.05)
    path = tmp_path / "kubeconfig"
    with socket.create_server(("127.0.0.1", 0), backlog=8) as api:
        path.write_text(kubeconfig("one", f"http://127.0.0.1:{api.getsockname()[1]}", "", "token"))
        cluster = ApiCluster("one", path)
        lanes = Lanes(
            "cluster",
            lambda _: contextlib.nullcontext(cluster),
            lambda cluster: cluster.require_answer(),
        )
        with lanes:
            assert lanes.of(Lane.STEADY) is cluster
            with pytest.raises(ClusterError) as first:
                lanes.of(Lane.STEADY)
            assert _waiting(api) > 0
            with pytest.raises(ClusterError) as later:
                lanes.of(Lane.STEADY)
        connections = _waiting(api)
    assert str(first.value) == (
        "the API server of external cluster one does not answer, for 0.05 s (timed out); look at "
        f"it with `kubectl --kubeconfig {path} cluster-info`"
    )
    assert str(later.value) == (
        f"lane steady has no cluster: {first.value} (the first check that it failed tells more)"
    )
    assert connections == 0


@pytest.mark.parametrize("answers", [True, False])
def test_a_request_without_answer_is_blamed_on_a_cluster_that_is_gone(*, answers: bool) -> None:
    class Gone:
        def require_answer(self) -> None:
            if not answers:
                raise ClusterError("the API server does not answer")

    error = httpx2.ReadError("EOF")
    cluster: Any = Gone()
    mesh: Any = None
    item: Any = SimpleNamespace(funcargs={"lab": Lab(cluster, mesh)})
    called = suite_conftest.pytest_runtest_call(item)
    next(called)
    with pytest.raises(httpx2.ReadError if answers else ClusterError) as told:
        called.throw(error)
    assert error in {told.value, told.value.__cause__}


def _waiting(listener: socket.socket) -> int:
    """How many connections came in that nobody has taken yet."""
    listener.setblocking(False)
    number = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            number += 1
    return number
