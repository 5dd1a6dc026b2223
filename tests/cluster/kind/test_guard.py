"""What the guard of a cluster tells when it cannot delete it, and whom it waits for."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from harness.cluster.kind import guard, program
from harness.cluster.kind.guard import guarded
from harness.errors import NotInTime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kind.conftest import Programs


@pytest.fixture
def never(tmp_path: Path) -> Path:
    """What a shell reads from without an end, until the test is over."""
    path = tmp_path / "never"
    os.mkfifo(path)
    return path


def test_what_the_block_raised_does_not_hide_that_the_cluster_is_left(
    programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.put("kind", "echo 'device busy' >&2; exit 1")
    with pytest.raises(KeyboardInterrupt), guarded("mine", tmp_path / "private"):
        raise KeyboardInterrupt
    told = capsys.readouterr().err
    assert "meshmark: kind cluster mine is left: run `kind delete cluster --name mine`" in told
    assert "device busy" in told


def test_a_deletion_that_hangs_is_told_with_what_to_do(
    programs: Programs, tmp_path: Path, never: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_GONE_S", 0.1)
    programs.put("kind", f"read -r word <> {never}")
    try:
        with (
            pytest.raises(NotInTime, match=r"not deleted after 0\.1 s; process \d+ goes") as caught,
            guarded("mine", tmp_path / "private"),
        ):
            pass
        assert "run `kind delete cluster --name mine`" in str(caught.value)
    finally:
        never.write_text("go\n")


def test_kind_is_ended_with_its_children_so_that_nobody_keeps_the_guard_waiting(
    programs: Programs, never: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_MOMENT_S", 0.1)
    programs.put("kind", f"sh -c 'read -r word <> {never}' & wait")
    program.program("kind")  # asks for its version, which is not what shall be short here
    reading, lifeline = os.pipe()
    try:
        with pytest.raises(NotInTime, match="did not end within"):
            program.kind("create", timeout_s=0.2, pass_fds=[lifeline])
    finally:
        os.close(lifeline)
    ended, _, _ = select.select([reading], [], [], 1.0)
    os.close(reading)
    assert ended


def test_kind_and_its_guard_make_nodes_of_docker_whatever_the_user_has_set(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    programs.put("kind", f'echo "$1 $KIND_EXPERIMENTAL_PROVIDER" >> {tmp_path}/told')
    with guarded("mine", tmp_path / "private"):
        program.kind("create")
    assert (tmp_path / "told").read_text() == "create docker\ndelete docker\n"
