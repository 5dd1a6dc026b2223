"""The image of this Python: what it shows of the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness.cluster import python_image as module
from harness.cluster.python_image import python_image

if TYPE_CHECKING:
    import pytest


def test_packages_are_shown_without_the_folders_around_them() -> None:
    image = python_image("it:1", "harness.load.agent", "--port=1", env={"A": "b"})
    shown = {bind.source for bind in image.normalised()}
    clone = Path(harness.__file__).parents[1]
    assert {clone / "harness", clone / "reference_mesh", Path(sys.prefix)} <= shown
    assert clone not in shown  # .tox in it is closed to other users
    assert image.entrypoint == [sys.executable, "-m", "harness.load.agent", "--port=1"]
    assert all(str(bind.source) == bind.target for bind in image.normalised())


def test_a_folder_that_others_cannot_read_is_no_matter_to_a_real_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(module.sys, "prefix", str(tmp_path))
    assert python_image("it:1", "harness.load.agent").portable
