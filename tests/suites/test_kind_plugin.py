"""Clusters that pytest-kind makes: one that somebody else made is not deleted."""

from __future__ import annotations

import contextlib
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster.kind import launch
from harness.errors import UsageError
from harness.plugin import Options
from harness.record.catalogue import Lane
from suites import kind_plugin

if TYPE_CHECKING:
    from pathlib import Path


def test_one_made_by_another_in_the_same_moment_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kind"
    program.write_text(
        f"#!/bin/sh\ntouch {tmp_path}/$1; [ $1 = version ] && echo kind v0.33.0 go1.26\n"
        "[ $1 != create ] || { echo 'already exist for a cluster with the name' >&2; exit 1; }\n"
    )
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n[ ! -e {tmp_path}/create ] || echo name-steady-worker abc\n")
    for each in (program, docker):
        each.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(launch, "settings", lambda **_: "kind: Cluster")
    option: Any = SimpleNamespace(
        keep_cluster=False, cluster_name="name", kind_image="", kind_bin=""
    )

    def fixture(_: str) -> None:
        subprocess.run([option.kind_bin, "create", "cluster"], check=True)

    with contextlib.ExitStack() as ends:
        config = SimpleNamespace(option=option, add_cleanup=ends.callback)
        request: Any = SimpleNamespace(config=config, getfixturevalue=fixture)
        with pytest.raises(UsageError, match="that meshmark did not make"):
            kind_plugin.made(request, Lane.STEADY, keep=False)
    assert not (tmp_path / "delete").exists()


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
