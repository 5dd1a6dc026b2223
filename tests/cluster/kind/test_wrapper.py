"""The program that stands in for kind where pytest-kind starts it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from harness.cluster.kind.guard import Guard
from harness.cluster.kind.wrapper import SAID, wrapped

if TYPE_CHECKING:
    from pathlib import Path


def test_it_adds_our_configuration_and_holds_the_guard(programs, tmp_path: Path) -> None:
    programs.put(
        "kind", "ls -l /proc/$$/fd/9 > /dev/null || echo 'no lifeline' >> " + str(programs.asked)
    )
    config = tmp_path / "a folder" / "kind.yaml"
    config.parent.mkdir()
    reading, writing = os.pipe()
    try:
        script = wrapped(str(programs.folder / "kind"), config, Guard(writing))
        subprocess.run([script, "create", "cluster", "--name=mine"], check=True)
        subprocess.run([script, "delete", "cluster"], check=True)
    finally:
        os.close(reading)
        os.close(writing)

    assert programs.calls("") == [
        f"kind create cluster --name=mine --config {config} --retain",
        "kind delete cluster",
    ]


def test_it_knows_of_no_cluster_and_keeps_what_kind_says_when_it_makes_one(
    programs, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    programs.put("kind", 'echo "mine $KIND_EXPERIMENTAL_PROVIDER" >&2; exit 3')
    reading, writing = os.pipe()
    try:
        script = wrapped(str(programs.folder / "kind"), tmp_path / "kind.yaml", Guard(writing))
        found = subprocess.run([script, "get", "clusters"], capture_output=True, check=True)
        made = subprocess.run([script, "create", "cluster"], capture_output=True, check=False)
    finally:
        os.close(reading)
        os.close(writing)

    assert found.stdout == b""
    assert (made.returncode, made.stderr) == (3, b"mine docker\n")
    assert (tmp_path / SAID).read_bytes() == made.stderr
