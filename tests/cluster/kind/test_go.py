"""Finding Go, and what a failed build means to the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.cluster.images import cache
from harness.cluster.kind import go
from harness.errors import ClusterError, EnvironmentLacks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the path, so that no Go of this machine is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(go, "USUAL_PLACES", ())
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    return folder


def put_go(folder: Path, version: str, body: str = "") -> Path:
    program = folder / "go"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = version ] && echo "go version {version} linux/x" && exit\n{body}\n'
    )
    program.chmod(0o755)
    return program


def module(folder: Path) -> Path:
    place = folder / "module"
    place.mkdir()
    (place / "go.mod").write_text("module x\n")
    return place


def test_a_new_go_is_taken_with_the_toolchain_that_it_has(path: Path) -> None:
    program = put_go(path, "go1.26.8")
    assert go.find() == program
    assert "GOTOOLCHAIN" not in go.environment(program, {})


def test_an_older_one_that_can_fetch_a_toolchain_is_told_to(path: Path) -> None:
    program = put_go(path, "go1.23.2")
    assert go.find() == program
    assert go.environment(program, {})["GOTOOLCHAIN"] == "go1.26.8"


def test_one_that_cannot_is_refused_by_its_version(path: Path) -> None:
    put_go(path, "go1.19.8")
    with pytest.raises(EnvironmentLacks, match=r"bin/go is 1\.19; install it .*backports"):
        go.find()


def test_none_at_all_is_refused_with_how_to_get_it(path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match=r"Go 1\.24 or newer is needed: no go was found"):
        go.find()


def test_a_build_is_kept_until_a_file_of_its_module_changes(path: Path, tmp_path: Path) -> None:
    # A linker's work: one line for each call.
    put_go(path, "go1.26.8", f'echo built >> {tmp_path}/calls; echo x > "${{8}}program"')
    source = module(tmp_path)
    first = go.built(source, ["tool"])
    assert (first / "program").exists()
    assert go.built(source, ["tool"]) == first
    assert go.built(source, ["tool"], flags="-X a=b") != first
    (source / "go.sum").write_text("another\n")
    assert go.built(source, ["tool"]) != first
    assert (tmp_path / "calls").read_text() == "built\n" * 3


def test_another_go_or_another_machine_builds_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, made = module(tmp_path), []
    for version, machine in (("1.26.8", "x86_64"), ("1.26.9", "x86_64"), ("1.26.9", "aarch64")):
        put_go(path, f"go{version}", ":")
        monkeypatch.setattr(go.platform, "machine", lambda machine=machine: machine)
        made.append(go.built(source))
    assert len(set(made)) == 3


def test_progress_tells_of_each_package(path: Path, tmp_path: Path) -> None:
    put_go(path, "go1.26.8", "echo net/http >&2; echo k8s.io/api >&2")
    told: list[str] = []
    go.built(module(tmp_path), ["tool"], progress=told.append)
    assert told == ["package 1, net/http", "package 2, k8s.io/api"]


@pytest.mark.parametrize(
    ("said", "error", "meaning"),
    [
        ("write /x: no space left on device", EnvironmentLacks, "the disk is full"),
        ("Get https://p: dial tcp: lookup p: no such host", EnvironmentLacks, "GOPROXY"),
        ("m@v1: Get https://p/m/@v/v1.zip: 503", EnvironmentLacks, "GOPROXY"),
        ("k8s.io/kube-proxy: compile: signal: killed", EnvironmentLacks, "not enough memory"),
        ("k8s.io/kube-proxy/x.go:1:1: undefined: y", ClusterError, "could not build"),
        ("x.go:1:1: undefined: y", ClusterError, "could not build"),
    ],
)
def test_a_failed_build_says_what_to_do_and_is_not_kept(
    path: Path, tmp_path: Path, said: str, error: type[Exception], meaning: str
) -> None:
    put_go(path, "go1.26.8", f'echo "{said}" >&2; exit 1')
    source = module(tmp_path)
    with pytest.raises(error, match=meaning) as caught:
        go.built(source, ["tool"])
    assert said in str(caught.value)
    assert not list(tmp_path.glob("module-*"))
