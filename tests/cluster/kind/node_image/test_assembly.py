"""What a build of the node image leaves in Docker when it does not come to its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.cluster.kind.node_image import assembly
from harness.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kind.conftest import Programs


def docker_with(programs: Programs, commit: str, run: str = "") -> None:
    """A Docker whose tag means `old`, or `new` once something was committed."""
    done = programs.folder / "committed"
    programs.put(
        "docker",
        f'case "$1" in image) [ -e {done} ] && echo sha256:new || echo sha256:old;;'
        f" exec) echo answers;; import) echo sha256:imported;; run) {run or ':'};;"
        f" commit) {commit.format(done=done)};; esac",
        healthy=False,
    )


def test_a_build_that_fails_leaves_the_image_that_there_was(
    programs: Programs, tmp_path: Path
) -> None:
    docker_with(programs, "exit 1")
    with pytest.raises(ClusterError):
        assembly.assemble("node:1", tmp_path / "root.tar", [], {})
    assert programs.calls("docker rmi") == ["docker rmi sha256:imported"]


def test_one_that_succeeds_takes_its_place(programs: Programs, tmp_path: Path) -> None:
    docker_with(programs, "touch {done}")
    assembly.assemble("node:1", tmp_path / "root.tar", [], {})
    removed = {line.split()[-1] for line in programs.calls("docker rmi")}
    assert removed == {"sha256:imported", "sha256:old"}


def test_a_container_whose_start_failed_is_removed_by_its_name(
    programs: Programs, tmp_path: Path
) -> None:
    docker_with(programs, "exit 1", run="exit 1")
    with pytest.raises(ClusterError):
        assembly.assemble("node:1", tmp_path / "root.tar", [], {})
    (started,) = programs.calls("docker run")
    (removed,) = programs.calls("docker rm ")
    name = re.search(r"--name (\S+)", started)
    assert name
    assert removed.endswith(name[1])
