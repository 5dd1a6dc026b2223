"""Sources of another commit, from real repositories."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from harness.errors import EnvironmentLacks
from harness.mesh.sources import sources_at

if TYPE_CHECKING:
    from pathlib import Path


LOCK = """
[[package]]
name = "meshmark-proxy"
version = "0.1.0"
dependencies = ["tokio"]

[[package]]
name = "tokio"
version = "1.2.3"
source = "registry+https://example.org/index"
"""


def git(clone: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=it", "-c", "user.email=it@example.org")
    command = ["git", "-C", str(clone), *settings, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(clone: Path, version: str) -> str:
    for name in ("reference_mesh/it.py", "harness/workload/it.rs"):
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {version}\n")
    names = clone / "reference_mesh/manifests/names.py"
    names.parent.mkdir(exist_ok=True)
    names.write_text('VERSION: Final = "0.1.0"\n')
    (clone / "Cargo.toml").write_text('[workspace.package]\nversion = "0.1.0"\n')
    (clone / "Cargo.lock").write_text(LOCK)
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", version)
    return git(clone, "rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _no_other_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARGO_TARGET_DIR", raising=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    made = tmp_path / "clone"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    commit(made, "one")
    return made


def test_the_sources_are_those_of_the_commit(clone: Path) -> None:
    first = git(clone, "rev-parse", "HEAD")
    commit(clone, "two")
    (clone / "reference_mesh/it.py").write_text("# not committed\n")

    sources = sources_at("HEAD^", clone=clone)

    assert first.startswith(sources.commit)
    assert (sources.root / "reference_mesh/it.py").read_text() == "# one\n"
    assert (sources.root / "harness/workload/it.rs").read_text() == "# one\n"
    assert sources.root.is_relative_to(clone / "target")
    assert git(clone, "worktree", "list").count("\n") == 0
    assert sources_at("HEAD^", clone=clone) == sources
    assert [path.name for path in sources.root.parent.iterdir()] == [sources.commit]


def test_a_proxy_that_did_not_change_is_known(clone: Path) -> None:
    """It need not be built a second time."""
    assert sources_at("HEAD", clone=clone).same_proxy
    proxy = clone / "reference_mesh/proxy/main.rs"
    proxy.parent.mkdir()
    proxy.write_text("fn main() {}\n")
    git(clone, "add", ".")
    assert not sources_at("HEAD", clone=clone).same_proxy


def test_the_last_change_is_of_the_mesh(clone: Path) -> None:
    """Other commits make the same build under another name."""
    first = git(clone, "rev-parse", "HEAD")
    (clone / "reference_mesh/manifests/it.py").write_text("# two\n")
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "the mesh")
    second = git(clone, "rev-parse", "HEAD")
    (clone / "README.md").write_text("# three\n")
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "something else")

    last, before = sources_at("last-change", clone=clone), sources_at("last-change^", clone=clone)

    assert (second.startswith(last.commit), last.same_mesh) == (True, True)
    assert (first.startswith(before.commit), before.same_mesh) == (True, False)


def test_the_version_names_the_commit(clone: Path) -> None:
    """Else cargo takes what it compiled of one commit for the other's, and both have one image."""
    sources = sources_at("HEAD", clone=clone)

    version = f"0.1.0-g{sources.commit}"
    names = (sources.root / "reference_mesh/manifests/names.py").read_text()
    assert names == f'VERSION: Final = "{version}"\n'
    with (sources.root / "Cargo.toml").open("rb") as file:
        assert tomllib.load(file)["workspace"]["package"]["version"] == version
    with (sources.root / "Cargo.lock").open("rb") as file:
        locked = {package["name"]: package["version"] for package in tomllib.load(file)["package"]}
    assert locked == {"meshmark-proxy": version, "tokio": "1.2.3"}


def test_pods_of_another_user_can_read_them(clone: Path) -> None:
    git(clone, "config", "tar.umask", "0077")

    sources = sources_at("HEAD", clone=clone)

    modes = {path.stat().st_mode & 0o004 for path in [sources.root, *sources.root.rglob("*")]}
    assert modes == {0o004}


def test_a_commit_that_is_not_there_is_named(clone: Path) -> None:
    for ref in ("HEAD^", "last-change^"):
        with pytest.raises(EnvironmentLacks, match=rf"has no commit {re.escape(ref)};.*--previous"):
            sources_at(ref, clone=clone)


def test_a_shallow_clone_says_how_to_get_the_rest(clone: Path, tmp_path: Path) -> None:
    commit(clone, "two")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth=1", clone.as_uri(), str(shallow))

    with pytest.raises(EnvironmentLacks, match=r"shallow clone without HEAD\^.*--unshallow"):
        sources_at("HEAD^", clone=shallow)


def test_a_folder_without_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="no git repository"):
        sources_at("HEAD^", clone=tmp_path)
