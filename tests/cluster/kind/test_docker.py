"""What is asked of Docker, and what its refusals mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from harness.cluster.kind import docker, host
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kind.conftest import Programs

INFO = {"ServerVersion": "20.10.24", "CgroupVersion": "1", "DefaultRuntime": "runc", "Other": 1}


def test_a_docker_that_answers_tells_what_it_is_like(programs: Programs) -> None:
    programs.put(
        "docker", f"[ $1 = version ] && echo 20.10.24 || echo '{json.dumps(INFO)}'", healthy=False
    )
    found = docker.daemon()
    assert (found.server_version, found.cgroup_version, found.default_runtime) == (
        "20.10.24", "1", "runc",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("Cannot connect to the Docker daemon at unix:///x.", "Docker does not run: start it with"),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "may not talk to Docker: run this with sudo, or join Docker's group",
        ),
    ],
)
def test_one_that_does_not_is_refused_with_the_next_step(
    programs: Programs, said: str, meaning: str
) -> None:
    programs.put("docker", f"echo '{said}' >&2; exit 1", healthy=False)
    with pytest.raises(EnvironmentLacks, match=meaning):
        docker.daemon()


def test_dockerd_is_started_with_our_runtime_only_where_the_capability_is_missing(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "FOLDER", tmp_path / "machine")
    monkeypatch.setattr(host, "RUNTIME_PROGRAM", tmp_path / "machine/runc")
    programs.put(
        "docker", f"[ $1 = version ] && echo 20.10.24 || echo '{json.dumps(INFO)}'", healthy=False
    )
    programs.put("dockerd", "echo started; exec sleep 1", healthy=False)
    for lacks, asked in ((False, "dockerd "), (True, "dockerd --add-runtime=meshmark=")):
        monkeypatch.setattr(host, "lacks_sys_resource", lambda lacks=lacks: lacks)
        assert docker.start() == tmp_path / "machine/dockerd.log"
        (call,) = programs.calls("dockerd")
        assert call.startswith(asked)
        assert call.endswith("--default-runtime=meshmark") is lacks
        programs.asked.write_text("")
    assert (tmp_path / "machine/runc").read_text().startswith("#!/usr/bin/python3 -IS\n")
    assert (tmp_path / "machine/runc").stat().st_mode & 0o777 == 0o755


def test_a_dockerd_that_ends_is_told_with_its_last_words(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "FOLDER", tmp_path / "machine")
    monkeypatch.setattr(host, "lacks_sys_resource", lambda: False)
    programs.put("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1", healthy=False)
    programs.put("dockerd", "echo 'failed to start daemon: no overlay'; exit 3", healthy=False)
    with pytest.raises(EnvironmentLacks, match=r"(?s)dockerd ended with 3; .*no overlay"):
        docker.start()
