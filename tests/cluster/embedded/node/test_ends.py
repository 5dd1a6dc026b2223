"""Clusters come up side by side, and leave nothing behind however they end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lightkube.models.core_v1 import Container, PodSpec, ResourceRequirements
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from harness.cluster import Image, embedded
from harness.cluster.embedded import launch
from harness.cluster.embedded.state import State
from harness.errors import ClusterError, EnvironmentLacks, NotInTime, UsageError
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster

IMAGE = Image("test/sh:1", [], ["sh", "-c"])


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    yield tmp_path
    embedded.down("detached")


def namespaces(pid: int) -> set[str]:
    """Namespaces of a process, as names that are unique on the machine."""
    found = set()
    for kind in ("net", "mnt", "pid"):
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            return set()
    return found


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def left_of(spaces: set[str]) -> list[int]:
    """Processes that are still in one of these namespaces."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if namespaces(pid) & spaces]


def gone(spaces: set[str]) -> None:
    until(
        lambda: left_of(spaces),
        what="everything of the cluster gone",
        timeout_s=5,
        interval_s=0.02,
        holds=lambda pids: not pids,
    )


def without_groups(outer: int) -> None:
    """Control groups are the one thing that is not in a namespace."""
    until(
        lambda: list(Path("/sys/fs/cgroup").glob(f"*/meshmark-{outer}")),
        what="control groups removed",
        timeout_s=5,
        interval_s=0.02,
        holds=lambda groups: not groups,
    )


def run_pods(cluster: embedded.EmbeddedCluster) -> None:
    """One pod of each make: own pid namespaces, and a shared one."""
    cluster.load_images([IMAGE])
    client = cluster.client()
    for name, shared in (("own", False), ("shared", True)):
        container = Container(
            name="app",
            image=IMAGE.reference,
            args=["sleep 1000 & wait"],
            resources=ResourceRequirements(limits={"memory": "64Mi"}),
        )
        spec = PodSpec(
            containers=[container], shareProcessNamespace=shared, terminationGracePeriodSeconds=0
        )
        client.create(Pod(metadata=ObjectMeta(name=name), spec=spec), namespace="default")
    until(
        lambda: [each.status.phase for each in client.list(Pod, namespace="default")],
        what="both pods running",
        timeout_s=10,
        interval_s=0.02,
        holds=lambda phases: phases == ["Running", "Running"],
    )


def own_spaces(pids: list[int]) -> set[str]:
    here = namespaces(os.getpid())
    return {space for pid in pids for space in namespaces(pid)} - here


@pytest.mark.parametrize("victim", [0, 1, 2], ids=["outermost", "process-1", "engine"])
def test_killing_a_vital_process_ends_everything(victim: int) -> None:
    mounts, links = Path("/proc/self/mounts").read_text(), socket.if_nameindex()
    with embedded.start("victim") as cluster:
        run_pods(cluster)
        pids = descendants(cluster.pid)
        spaces = own_spaces(pids)
        os.kill(pids[victim], signal.SIGKILL)

        assert spaces
        gone(spaces)
        without_groups(cluster.pid)
        if victim == 2:
            assert "the engine" in cluster.log.read_text()
    assert Path("/proc/self/mounts").read_text() == mounts
    assert socket.if_nameindex() == links


def test_killing_any_process_of_a_pod_leaves_the_cluster_whole() -> None:
    with embedded.start("sturdy") as cluster:
        run_pods(cluster)
        client = cluster.client()
        for pid in descendants(cluster.pid)[3:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended with the one before
        until(
            lambda: [
                (each.status.phase, each.status.containerStatuses[0].state.running is not None)
                for each in client.list(Pod, namespace="default")
            ],
            what="both pods running again",
            timeout_s=20,
            holds=lambda seen: seen == [("Running", True)] * 2,
        )
        spaces = own_spaces(descendants(cluster.pid))
    gone(spaces)


def test_a_cluster_dies_with_its_caller() -> None:
    program = (
        "from harness.cluster import embedded\n"
        "with embedded.start('orphan') as cluster:\n"
        "    print(cluster.pid, flush=True)\n"
        "    import signal; signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        spaces = own_spaces(descendants(pid))
        caller.kill()
    assert spaces
    gone(spaces)
    without_groups(pid)


def test_two_clusters_do_not_meet() -> None:
    with embedded.start("left") as left, embedded.start("right") as right:
        run_pods(left)
        there = list(right.client().list(Pod, namespace="default"))
        nodes = [next(iter(each.client().list(Node))) for each in (left, right)]

    assert there == []
    assert [each.metadata.labels["meshmark.dev/cluster"] for each in nodes] == ["left", "right"]


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"127.0.0.1:{port}: Address already in use"):
            embedded.start("late", port=port).__enter__()


def test_without_root_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(EnvironmentLacks, match=r"sudo.*kind"):
        embedded.start("humble").__enter__()


def test_an_image_of_missing_files_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "not-built"
    with embedded.start("picky") as cluster, pytest.raises(ClusterError, match=str(missing)):
        cluster.load_images([Image("test/missing:1", [(missing, "/app")], ["/app"])])


def test_the_engine_may_open_as_many_files_as_the_machine_lets_it() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with embedded.start("many") as cluster:
            engine = descendants(cluster.pid)[2]
            limits = Path(f"/proc/{engine}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    row = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert row.split()[3:5] == [str(hard), str(hard)]


@pytest.mark.usefixtures("state")
def test_a_detached_cluster_stays_until_it_is_taken_down() -> None:
    made = embedded.up("detached")
    spaces = own_spaces(descendants(made.pid))

    with contextlib.closing(embedded.attach("detached")) as found:
        assert found.pid == made.pid
        assert found.kubeconfig.stat().st_mode & 0o777 == 0o600
        assert [each.metadata.name for each in found.client().list(Node)] == ["meshmark-node"]
    with pytest.raises(UsageError, match="up already"):
        embedded.up("detached")
    assert embedded.down("detached")
    gone(spaces)
    assert not found.kubeconfig.parent.exists()
    assert not embedded.down("detached")
    with pytest.raises(UsageError, match="meshmark up"):
        embedded.attach("detached")


@pytest.mark.usefixtures("state")
def test_a_cluster_that_cannot_be_written_down_is_not_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids = []

    def full(_: object, pid: int, __: str) -> None:
        pids.append(pid)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(State, "record", full)
    with pytest.raises(EnvironmentLacks, match="No space left"):
        embedded.up("detached")
    until(lambda: not Path(f"/proc/{pids[0]}").exists(), what="the cluster gone", timeout_s=5)


def test_an_engine_that_is_never_ready_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\necho what it had to say\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stuck))
    monkeypatch.setattr(launch, "_READY_S", 0.5)

    with pytest.raises(NotInTime, match="what it had to say"), embedded.start("stuck"):
        pass


def test_files_are_those_of_who_called_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with embedded.start("sudoed") as cluster:
        assert cluster.kubeconfig.stat().st_uid == 65534
        assert cluster.kubeconfig.parent.stat().st_uid == 65534
        assert cluster.log.stat().st_uid == 65534


def test_what_the_engine_lacks_is_said_and_not_ignored() -> None:
    with embedded.start("modest") as cluster:
        cluster.load_images([IMAGE])
        client = cluster.client()
        spec = PodSpec(
            hostNetwork=True,
            containers=[Container(name="app", image=IMAGE.reference, args=["true"])],
        )
        client.create(Pod(metadata=ObjectMeta(name="wide"), spec=spec), namespace="default")
        pod = until(
            lambda: client.get(Pod, "wide", namespace="default"),
            what="the pod refused",
            timeout_s=5,
            holds=lambda each: each.status.phase == "Failed",
        )

    assert "spec.hostNetwork" in pod.status.message
    assert pod.status.containerStatuses[0].containerID is None
