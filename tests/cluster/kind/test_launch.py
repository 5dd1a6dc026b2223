"""Clusters of kind as their user meets them: whose they are, how they fail, what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.cluster import choice, kind, places
from harness.cluster.kind import launch
from harness.cluster.kind.guard import guarded
from harness.errors import ClusterError, EnvironmentLacks, MeshmarkError, UsageError
from harness.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kind.conftest import Programs

ONE_NODE = (
    'case "$*" in *.ID*) echo mine-control-plane abc;; *) echo "mine-control-plane: Up";; esac'
)


@pytest.fixture
def up(programs, monkeypatch):
    """A cluster called mine that `up` made."""
    monkeypatch.setattr(kind.KindCluster, "ready", lambda *_: None)
    made = programs.folder / "made"
    programs.put("docker", f"[ -e {made} ] || exit 0; {ONE_NODE}")
    programs.put("kind", f'case $1 in create) touch {made} "$8";; delete) rm -f {made};; esac')
    kind.up("mine", workers=0)
    return programs


def test_one_that_stays_is_found_refused_twice_and_ended(up) -> None:
    assert choice.attach("mine").engine == "kind"
    with pytest.raises(UsageError, match=r"up already: .*KUBECONFIG=.*meshmark down --name mine"):
        kind.up("mine")
    assert kind.attach("mine").kubeconfig.stat().st_mode & 0o777 == 0o600
    assert choice.down("mine")
    assert not choice.down("mine")
    assert list(places.state_folder().iterdir()) == []
    assert len(up.calls("kind create")) == len(up.calls("kind delete")) == 1


def test_another_of_the_same_name_is_neither_taken_nor_deleted(up) -> None:
    up.put("docker", ONE_NODE.replace("abc", "other"))

    with pytest.raises(UsageError, match=r"kind cluster mine that meshmark did not make \(mine-c"):
        kind.start("mine").__enter__()
    with pytest.raises(UsageError, match="no kind cluster mine is up"):
        kind.attach("mine")
    assert not kind.down("mine")
    assert up.calls("kind delete") == []


@pytest.mark.parametrize(
    "said",
    [
        'node(s) already exist for a cluster with the name \\"mine\\"',
        'Conflict. The container name \\"/mine-worker\\" is already in use by container \\"a\\".',
    ],
)
def test_one_made_by_another_in_the_same_moment_is_let_be(programs, said: str) -> None:
    made = programs.folder / "made"
    programs.put("docker", f"[ -e {made} ] || exit 0; {ONE_NODE}")
    programs.put("kind", f'touch {made}; echo "{said}" >&2; exit 1')

    with pytest.raises(UsageError, match="that meshmark did not make"):
        kind.start("mine").__enter__()
    assert programs.calls("kind delete") == []


def test_without_a_node_image_there_is_nothing_to_delete(programs) -> None:
    programs.put("docker", 'case "$1" in info) echo "{}";; ps) ;; *) exit 1;; esac', healthy=False)
    with pytest.raises(MeshmarkError):
        kind.up("mine")
    assert programs.calls("kind delete") == []


def test_images_that_cannot_be_loaded_end_the_cluster(up, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ClusterError("no space on node")

    assert kind.down("mine")
    monkeypatch.setattr(kind.KindCluster, "load_images", fail)
    with pytest.raises(ClusterError, match="no space on node"):
        kind.up("mine", workers=0, images=[])
    assert not (up.folder / "made").exists()
    assert list(places.state_folder().iterdir()) == []


def test_one_that_lost_a_node_is_still_ours_to_end(programs, monkeypatch) -> None:
    monkeypatch.setattr(kind.KindCluster, "ready", lambda *_: None)
    made = programs.folder / "made"
    programs.put("docker", f"[ -e {made} ] || exit 0; {ONE_NODE}; echo mine-worker def")
    programs.put("kind", f'case $1 in create) touch {made} "$8";; delete) rm -f {made};; esac')
    kind.up("mine", workers=1)
    programs.put("docker", f"[ -e {made} ] || exit 0; {ONE_NODE}")

    assert kind.down("mine")
    assert not made.exists()


def test_nodes_that_docker_does_not_know_are_not_recorded(programs, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"knows none of its nodes.*DOCKER_HOST"):
        launch.record("mine", tmp_path / "kubeconfig")
    assert not places.state_folder().exists()


@pytest.fixture
def dead(programs: Programs) -> Programs:
    """A machine on which nodes do not boot."""
    made = programs.folder / "made"
    listed = "mine-control-plane: Exited (1) 2 seconds ago"
    programs.put(
        "docker",
        f"[ -e {made} ] || exit 0; case $* in logs*) echo 'Failed to mount cgroup';;"
        f" *.ID*) echo mine-control-plane abc;; *) echo '{listed}';; esac",
    )
    programs.put(
        "kind",
        f"[ $1 = create ] || exec rm -f {made}; touch {made}; echo 'no log line' >&2; exit 1",
    )
    return programs


def test_nodes_that_do_not_boot_have_the_last_word_and_are_deleted(dead: Programs) -> None:
    with pytest.raises(ClusterError) as caught:
        kind.up("mine")
    told = str(caught.value)
    assert "kind cluster mine did not come up" in told
    assert "no log line" in told
    assert "node mine-control-plane (Exited (1) 2 seconds ago) said:\nFailed to mount" in told
    assert len(dead.calls("kind delete cluster --name mine")) == 1
    assert not list(places.state_folder().glob("*"))


def test_nodes_that_do_not_boot_are_kept_on_request(dead: Programs) -> None:
    with (
        pytest.raises(ClusterError, match=r"did not come up(.|\n)*meshmark down --name mine"),
        choice.opened("kind", name="mine", keep=True),
    ):
        pytest.fail("it is not up")
    assert not dead.calls("kind delete")
    assert kind.down("mine")
    assert not kind.is_up("mine")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", "usermod -aG"),
        (
            "Cannot connect to the Docker daemon at unix:///x. Is it running?",
            "start",
        ),
        ("write /var/lib/docker/tmp: no space left on device", "docker system df"),
    ],
)
def test_what_the_machine_lacks_is_said_with_the_remedy(programs, said: str, advice: str) -> None:
    programs.put("docker", f"echo '{said}' >&2; exit 1", healthy=False)

    with pytest.raises(EnvironmentLacks, match=advice):
        kind.require()


def test_a_missing_program_is_named(programs, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (programs.folder / "kind").unlink()

    with pytest.raises(EnvironmentLacks, match=r"kind .* none was found; `meshmark doctor"):
        kind.require()


def test_a_maker_that_is_killed_leaves_nothing(programs, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    program = (
        "import signal, pathlib\n"
        "from harness.cluster.kind.guard import guarded\n"
        f"with guarded('mine', pathlib.Path({str(folder)!r})):\n"
        "    print('made', flush=True); signal.pause()"
    )
    maker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert maker.stdout is not None
    assert maker.stdout.readline() == b"made\n"
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    maker.stdout.close()

    until(lambda: programs.calls("kind delete cluster --name mine"), what="deleted", timeout_s=5)
    until(lambda: not folder.exists(), what="folder gone", timeout_s=5)


def test_a_cluster_that_cannot_be_deleted_is_told(programs, tmp_path: Path) -> None:
    programs.put("kind", "echo 'device busy' >&2; exit 1")

    with (
        pytest.raises(MeshmarkError, match=r"(?s)kind delete cluster --name mine.*device busy"),
        guarded("mine", tmp_path / "private"),
    ):
        pass


def test_a_record_that_cannot_be_read_is_no_cluster(programs) -> None:
    folder = places.state_folder() / "mine.kind"
    folder.mkdir(parents=True)
    (folder / "kind.json").write_text("{")

    assert not launch.is_up("mine")
