"""What `meshmark doctor --cluster kind` says of machines that lack something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import kind_requirements
from harness.cli.doctor import lines, packages_to_install
from harness.cli.kind_requirements import Parts, examine, mend, prepare
from harness.cluster.kind import docker, tools
from harness.cluster.kind.docker import Daemon
from harness.cluster.kind.host import RUNTIME, Host
from harness.cluster.kind.node_image import Choice
from harness.errors import EnvironmentLacks
from tests.cli.test_doctor import FakeMachine


def refuse(*_: object) -> str:
    raise EnvironmentLacks("it is not there: get it")


GOOD = Parts(
    daemon=lambda: Daemon("28.0"),
    has_dockerd=lambda: True,
    has_init=lambda: False,
    lacks_sys_resource=lambda: False,
    examine_host=lambda _: Host(2, sys_resource=True, runtime="runc"),
    find_go=lambda: Path("/usr/bin/go"),
    tool=lambda name: f"/usr/bin/{name}",
    image=lambda: Choice("kindest/node:v1", "Docker has it"),
    image_is_outdated=lambda: False,
    image_can_be_pulled=lambda: True,
    has_old_go=lambda: False,
    watchers=lambda: 512,
    raise_watchers=lambda: pytest.fail("changed the machine"),
)


def told(parts: Parts, *lacks: str) -> str:
    return "\n".join(lines(examine(FakeMachine(lacks=lacks), parts), quiet=True, root=True))


def test_a_complete_machine_lacks_nothing() -> None:
    assert told(GOOD) == ""


def test_docker_that_is_not_installed_is_brought_by_one_package() -> None:
    parts = replace(GOOD, daemon=refuse, has_dockerd=lambda: False)
    findings = examine(FakeMachine(lacks=["docker"]), parts)
    assert packages_to_install(findings) == ["docker.io"]


def test_a_client_without_a_daemon_is_not_enough() -> None:
    parts = replace(GOOD, daemon=refuse, has_dockerd=lambda: False)
    assert "✗ Docker answers: it is not there: get it" in told(parts)
    assert "apt-get install -y docker.io" in told(parts)


def test_where_no_init_runs_fix_is_named_as_what_starts_docker() -> None:
    parts = replace(GOOD, daemon=refuse)
    assert "doctor --cluster kind --fix` as root, which starts one" in told(parts)
    assert "--fix" not in told(replace(parts, has_init=lambda: True))


def test_a_host_that_docker_cannot_start_nodes_on_is_named() -> None:
    parts = replace(GOOD, examine_host=lambda _: Host(1, sys_resource=False, runtime="runc"))
    assert "✗ nodes in containers\n    this machine lacks CAP_SYS_RESOURCE" in told(parts)
    parts = replace(GOOD, examine_host=lambda _: Host(1, sys_resource=False, runtime=RUNTIME))
    assert told(parts) == ""


def test_a_missing_image_is_worth_knowing_and_no_more() -> None:
    findings = examine(FakeMachine(), replace(GOOD, image=lambda: None))
    assert lines(findings, quiet=True, root=True) == []
    assert "run `meshmark node-image build`" in "\n".join(lines(findings, quiet=False, root=True))


def test_go_is_asked_for_only_where_something_is_to_be_built() -> None:
    without = replace(GOOD, find_go=refuse, has_old_go=lambda: True, image=lambda: None)
    assert told(without) == ""
    assert "✗ Go, to build kind and kubectl\n" in told(replace(without, tool=refuse))
    parts = replace(without, image_can_be_pulled=lambda: False)
    assert "✗ Go, to build the node image\n" in told(parts)
    assert told(replace(parts, image=GOOD.image)) == ""


def test_an_image_that_is_out_of_date_is_told() -> None:
    findings = examine(
        FakeMachine(), replace(GOOD, image=lambda: None, image_is_outdated=lambda: True)
    )
    assert "Docker has one that is out of date" in "\n".join(
        lines(findings, quiet=False, root=True)
    )


@pytest.mark.parametrize(("old", "package"), [(True, "golang-1.23-go"), (False, "golang-go")])
def test_go_comes_from_backports_where_debians_own_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool, package: str
) -> None:
    monkeypatch.setattr(kind_requirements, "BACKPORTS", tmp_path / "backports.list")
    parts = replace(
        GOOD,
        tool=refuse,
        find_go=refuse,
        has_old_go=lambda: old,
        mirror=lambda: "http://mirror.example/debian",
    )
    findings = examine(FakeMachine(), parts)
    assert packages_to_install(findings) == [package]
    told: list[str] = []
    prepare(FakeMachine(), parts, findings, told.append)
    line = "deb http://mirror.example/debian bookworm-backports main"
    file = tmp_path / "backports.list"
    assert told == ([f"writing {file}: {line}"] if old else [])
    assert (file.read_text() if file.exists() else "") == (f"{line}\n" if old else "")


def test_apts_sources_are_left_alone_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind_requirements, "BACKPORTS", tmp_path / "backports.list")
    parts = replace(
        GOOD, tool=refuse, find_go=refuse, has_old_go=lambda: True, mirror=lambda: "http://m"
    )
    user = FakeMachine(root=False)
    with pytest.raises(EnvironmentLacks, match="only root can write"):
        prepare(user, parts, examine(user, parts), print)
    assert not (tmp_path / "backports.list").exists()


def test_docker_is_neither_started_nor_changed_without_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker, "start", lambda: pytest.fail("started"))
    monkeypatch.setattr(docker, "install_runtime", lambda: pytest.fail("installed"))
    user = FakeMachine(root=False)
    with pytest.raises(EnvironmentLacks, match="only root can start dockerd"):
        mend(user, replace(GOOD, daemon=refuse), print)  # type: ignore[arg-type]
    weak = replace(GOOD, has_init=lambda: True, lacks_sys_resource=lambda: True)
    mend(user, weak, print)  # nodes can run here already
    lacking = Host(1, sys_resource=False, runtime="runc")
    with pytest.raises(EnvironmentLacks, match="only root can install Docker's runtime"):
        mend(user, replace(weak, examine_host=lambda _: lacking), print)


def test_mending_builds_only_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(tools, "keep", lambda name, _: kept.append(name))
    monkeypatch.setattr(kind_requirements.compiled, "kubectl", lambda: Path("/built"))
    has_kind = replace(GOOD, tool=lambda name: name if name == "kind" else refuse())
    mend(FakeMachine(), has_kind, lambda _: None)
    assert kept == ["kubectl"]


def test_mending_starts_docker_only_where_none_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(docker, "start", lambda: started.append("dockerd") or Path("/log"))
    mend(FakeMachine(), GOOD, lambda _: None)
    assert started == []
    mend(FakeMachine(), replace(GOOD, daemon=refuse), lambda _: None)  # type: ignore[arg-type]
    assert started == ["dockerd"]


def test_too_few_watchers_are_told_and_raised_by_root() -> None:
    raised: list[int] = []
    parts = replace(GOOD, watchers=lambda: 128, raise_watchers=lambda: raised.append(1))
    assert lines(examine(FakeMachine(), parts), quiet=True, root=True) == []
    told = "\n".join(lines(examine(FakeMachine(), parts), quiet=False, root=True))
    assert "sysctl -w fs.inotify.max_user_instances=512" in told
    mend(FakeMachine(root=False), parts, lambda _: None)
    assert raised == []
    mend(FakeMachine(), parts, lambda _: None)
    assert raised == [1]
