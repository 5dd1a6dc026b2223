"""Where kind and kubectl are taken from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.cluster.images import cache
from harness.cluster.kind import tools
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kind.conftest import Programs


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "cache")
    built = tmp_path / "built"
    built.write_text("#!/bin/sh\necho 'Client Version: v1.34.4'\n")
    built.chmod(0o755)
    return built


def test_one_on_the_path_is_taken_when_it_is_new_enough(programs: Programs, kept: Path) -> None:
    programs.put("kind", "echo kind v0.31.0 go1.25.4 linux/amd64", healthy=False)
    assert tools.find("kind") == str(programs.folder / "kind")


def test_one_built_here_is_taken_when_that_on_the_path_is_too_old(
    programs: Programs, kept: Path
) -> None:
    programs.put("kubectl", "echo Client Version: v1.30.2", healthy=False)
    place = tools.keep("kubectl", kept)
    assert tools.find("kubectl") == str(place)


def test_an_old_one_alone_is_refused_by_its_version(programs: Programs, kept: Path) -> None:
    programs.put("kubectl", "echo Client Version: v1.30.2", healthy=False)
    with pytest.raises(EnvironmentLacks, match=r"kubectl 1\.33 .*bin/kubectl is 1\.30; .*--fix"):
        tools.find("kubectl")


def test_who_needs_no_newer_one_says_so(programs: Programs, kept: Path) -> None:
    programs.put("kubectl", "echo Client Version: v1.30.2", healthy=False)
    assert tools.find("kubectl", (1, 30)) == str(programs.folder / "kubectl")
    with pytest.raises(EnvironmentLacks, match=r"kubectl 1\.31 or newer"):
        tools.find("kubectl", (1, 31))


def test_none_at_all_is_refused(programs: Programs, kept: Path) -> None:
    programs.put("kind", "exit 1", healthy=False)
    with pytest.raises(EnvironmentLacks, match="none was found"):
        tools.find("kind")
