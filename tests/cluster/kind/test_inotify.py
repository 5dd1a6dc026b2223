"""What is said and done about too few watchers of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.cluster.kind import inotify
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")
    monkeypatch.setattr(inotify, "LIMIT", file)
    return file


def test_the_limit_can_be_raised(limit: Path) -> None:
    assert inotify.limit() == 128
    inotify.raise_limit()
    assert limit.read_text() == "512\n"


def test_a_kernel_that_refuses_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inotify, "LIMIT", tmp_path / "no" / "such")
    assert inotify.limit() is None
    with pytest.raises(EnvironmentLacks, match="one cluster at a time"):
        inotify.raise_limit()


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize(
    ("said", "explained"),
    [
        ("failed to create fsnotify watcher: too many open files", True),
        ("Failed to create control group inotify object: Too many open files", True),
        ("node not found", False),
    ],
)
def test_only_complaints_of_watchers_are_explained(said: str, explained: bool) -> None:
    assert ("gives 128 to all nodes" in inotify.explain(said)) is explained


def test_a_machine_with_enough_is_not_blamed(limit: Path) -> None:
    limit.write_text("512\n")
    assert inotify.explain("too many open files") == ""
