"""Building Rust programs: what is found, what is missing, whose files they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness import toolchain
from harness.errors import EnvironmentLacks, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(toolchain.PROGRAMS_VARIABLE, raising=False)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_cargo(tmp_path: Path, executable: Path) -> None:
    """A cargo whose programs hold the arguments that they were built with."""
    message = (
        f'{{"reason":"compiler-artifact","target":{{"name":"prog"}},"executable":"{executable}"}}'
    )
    program(
        tmp_path / "bin/cargo",
        f'[ "$1" = --version ] && echo cargo 1.95.0 && echo host: here-linux-gnu && exit\n'
        f"mkdir -p {executable.parent}; rm -f {executable}\n"
        f'echo "$@" > {executable}\n'
        f"echo '{message}'",
    )


def person(home: Path) -> toolchain.Person:
    return toolchain.Person(os.geteuid(), os.getegid(), home, "someone")


def test_rustups_cargo_is_found_off_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sudo's path rarely has the user's cargo; their home does."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    cargo = program(tmp_path / ".cargo/bin/cargo", "echo cargo 1.95.0")

    assert toolchain.find_cargo(person(tmp_path)) == cargo


def test_an_old_cargo_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution's old cargo on the path does not hide rustup's."""
    program(tmp_path / "bin/cargo", "echo cargo 1.63.0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    cargo = program(tmp_path / ".cargo/bin/cargo", "echo cargo 1.90.1")

    assert toolchain.find_cargo(person(tmp_path)) == cargo


def test_a_missing_part_of_rust_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    answer = '[ "$1" = clippy ] && exit 1; echo cargo 1.95.0'
    cargo = program(tmp_path / "bin/cargo", answer)

    assert toolchain.subcommand_version("fmt", person(tmp_path)) == "cargo 1.95.0"
    with pytest.raises(EnvironmentLacks) as lacking:
        toolchain.subcommand_version("clippy", person(tmp_path))
    assert f"`{cargo} clippy` does not work: run `rustup component add" in str(lacking.value)


def test_without_rust_the_error_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the versions found and the command that helps."""
    program(tmp_path / "bin/cargo", "echo cargo 1.63.0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(EnvironmentLacks, match=r"1\.63.*rustup"):
        toolchain.find_cargo(person(tmp_path))


def test_builds_with_other_features_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cargo puts both builds in one place; what is returned stays what it was."""
    root, target = tmp_path / "root", tmp_path / "target"
    (root).mkdir()
    (root / "Cargo.toml").write_text("[workspace]\n")
    fake_cargo(tmp_path, target / "release/prog")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("CARGO_TARGET_DIR", str(target))
    monkeypatch.setenv("CARGO_HOME", "/home/somebody/.cargo")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv(toolchain.PROFILE_VARIABLE, raising=False)

    plain = toolchain.build("p", root=root)["prog"]
    mutated = toolchain.build("p", features=("mutants",), root=root)["prog"]

    assert plain != mutated
    assert "--features" not in plain.read_text()
    assert "--features mutants" in mutated.read_text()
    assert "--locked --profile release" in plain.read_text()
    assert "--target here-linux-gnu" in plain.read_text()
    assert "+crt-static" in plain.read_text()
    assert "--remap-path-prefix=/home/somebody/.cargo=/cargo" in plain.read_text()


def test_another_commit_is_built_where_this_clones_artefacts_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So only what differs is compiled; the programs are kept apart all the same."""
    target = tmp_path / "target"
    roots = [tmp_path / "clone", tmp_path / "other"]
    for root in roots:
        root.mkdir()
        (root / "Cargo.toml").write_text("[workspace]\n")
    fake_cargo(tmp_path, target / "release/prog")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "_ROOT", roots[0])
    monkeypatch.delenv("CARGO_TARGET_DIR", raising=False)
    monkeypatch.setenv(toolchain.PROFILE_VARIABLE, "quick")

    other = toolchain.build("p", root=roots[1], commit="0123abcd")["prog"]

    assert f"--target-dir {roots[0] / 'target'}" in other.read_text()
    assert other == roots[0] / "target/meshmark/quick-0123abcd/prog"


def test_a_failed_build_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package and the command to repeat are in the message."""
    (tmp_path / "Cargo.toml").write_text("[workspace]\n")
    program(tmp_path / "bin/cargo", '[ "$1" = --version ] && echo cargo 1.95.0 && exit\nexit 101')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(UsageError, match=r"could not build p .*101.*--package p"):
        toolchain.build("p", root=tmp_path)


def test_outside_a_clone_the_error_says_so(tmp_path: Path) -> None:
    """An installed wheel has no Rust sources."""
    with pytest.raises(EnvironmentLacks, match="clone"):
        toolchain.build("p", root=tmp_path)
