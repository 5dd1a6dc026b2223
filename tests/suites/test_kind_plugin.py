"""Clusters that pytest-kind makes: one that somebody else made is not deleted."""

from __future__ import annotations

import contextlib
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster.kind import launch
from harness.errors import ClusterError, EnvironmentLacks, UsageError
from harness.plugin import Options
from harness.record.catalogue import Lane
from suites import kind_plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Ask for a cluster called name of a kind that says so much of it and fails."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/create ] || exit 0\n"
        'case "$*" in *.ID*) echo name-steady-worker abc;; logs*) echo last words;;'
        " *) echo 'name-steady-worker: Up';; esac\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "settings", lambda **_: "kind: Cluster")

    def make(said: str, *, keep: bool = False) -> object:
        program = tmp_path / "kind"
        program.write_text(
            f"#!/bin/sh\ntouch {tmp_path}/$1; [ $1 = version ] && echo kind v0.33.0 go1.26\n"
            f"[ $1 != create ] || {{ echo '{said}' >&2; exit 1; }}\n"
        )
        program.chmod(0o755)
        option: Any = SimpleNamespace(
            keep_cluster=False, cluster_name="name", kind_image="", kind_bin="", kubeconfig=None
        )

        def fixture(_: str) -> None:
            (tmp_path / ".pytest-kind/name-steady").mkdir(parents=True)
            subprocess.run([option.kind_bin, "create", "cluster"], check=True)

        with contextlib.ExitStack() as ends:
            config = SimpleNamespace(option=option, add_cleanup=ends.callback)
            request: Any = SimpleNamespace(config=config, getfixturevalue=fixture)
            return kind_plugin.made(request, Lane.STEADY, keep=keep)

    return make


def test_one_made_by_another_in_the_same_moment_is_let_be(
    making: Callable[..., object], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="that meshmark did not make"):
        making("already exist for a cluster with the name")
    assert not (tmp_path / "delete").exists()


def test_one_that_fails_is_told_in_kinds_words_and_deleted(
    making: Callable[..., object], tmp_path: Path
) -> None:
    with pytest.raises(ClusterError) as caught:
        making("no log line")
    told = str(caught.value)
    assert "could not make cluster name-steady:\nno log line\nnode name-steady-worker" in told
    assert "last words" in told
    assert "--kind-image" in told
    assert (tmp_path / "delete").exists()
    assert not (tmp_path / ".pytest-kind").exists()


def test_a_full_disk_is_called_so(making: Callable[..., object]) -> None:
    with pytest.raises(EnvironmentLacks, match="the disk is full"):
        making("write: no space left on device")


def test_one_that_fails_is_kept_on_request(making: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="meshmark down --name name-steady"):
        making("no log line", keep=True)
    assert not (tmp_path / "delete").exists()
    assert launch.is_up("name-steady")


@pytest.mark.parametrize(
    ("cluster", "option", "keep"),
    [
        ("kind", SimpleNamespace(kind_bin=None, keep_cluster=True), True),
        ("kind", SimpleNamespace(kind_bin=None, keep_cluster=False), False),
        ("embedded", SimpleNamespace(kind_bin=None, keep_cluster=True), False),
        ("kind", SimpleNamespace(), False),
    ],
)
def test_its_option_keeps_what_stands_on_the_cluster_too(
    cluster: str, option: Any, keep: bool
) -> None:
    config: Any = SimpleNamespace(option=option)
    assert kind_plugin.keeping(config, Options(cluster=cluster)).keep is keep
    assert kind_plugin.keeping(config, Options(cluster=cluster, keep=True)).keep
