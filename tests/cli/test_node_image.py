"""What `meshmark node-image build` tells."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from harness.cli import node_image
from harness.cluster.kind.node_image import PINNED, Choice
from harness.cluster.kind.node_image.build import Stage
from harness.errors import EnvironmentLacks
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Docker that runs and has no node image, and a build of one stage."""
    monkeypatch.setattr(node_image.docker, "daemon", lambda: None)
    monkeypatch.setattr(node_image.freshness, "is_current", lambda _: False)
    monkeypatch.setattr(node_image.go, "find", lambda: None)
    monkeypatch.setattr(node_image.build, "build", lambda *_: None)
    monkeypatch.setattr(node_image.build, "STAGES", (Stage("a stage", 9, lambda _: None),))


def build(*options: str) -> Result:
    return CliRunner().invoke(node_image.command, ["build", *options])


def test_it_says_first_what_it_does_and_how_long_that_takes_and_then_how_long_it_took() -> None:
    first, second, *steps, last = build().output.splitlines()
    assert first.endswith("in 2 steps: about 10 minutes on two idle cores the first time.")
    assert "Interrupted, it goes on where it was" in second
    titles = [line.rpartition(":")[0] for line in steps]
    assert titles == ["[1/2] a stage", "[2/2] all of it in Docker"]
    assert last == "meshmark.dev/node:v1.34.4 is built, in 0 s"


def test_what_is_up_to_date_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_image.freshness, "is_current", lambda _: True)
    assert build().output == "meshmark.dev/node:v1.34.4 is up to date\n"


def test_where_needed_only_it_takes_the_image_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulled = Choice(PINNED, "pulled from its registry")
    monkeypatch.setattr(node_image, "node_image", lambda: pulled)
    assert (
        build("--if-needed").output == f"nodes are made from {PINNED}: pulled from its registry\n"
    )


def test_where_needed_only_it_builds_what_is_missing_or_out_of_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> Choice:
        raise EnvironmentLacks("there is no node image, or it is out of date")

    monkeypatch.setattr(node_image, "node_image", missing)
    assert "is built, in" in build("--if-needed").output


def test_go_is_asked_for_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise EnvironmentLacks("Go 1.24 or newer is needed")

    monkeypatch.setattr(node_image.go, "find", missing)
    result = build()
    assert isinstance(result.exception, EnvironmentLacks)
    assert result.output == ""


def test_a_full_disk_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/x")

    monkeypatch.setattr(node_image.build, "STAGES", (Stage("a stage", 9, fill),))
    error = build().exception
    assert isinstance(error, EnvironmentLacks)
    assert str(error).startswith("the disk is full (/cache/x): make room and run this again")


def test_progress_goes_on_while_a_program_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_image, "_TELL_EVERY_S", 0.01)
    told = []
    monkeypatch.setattr(node_image.click, "echo", lambda line, **_: told.append(line))

    def make(progress: Callable[[str], None]) -> None:
        progress("package 7")
        until(lambda: len(told) > 1, what="two lines", timeout_s=2.0, interval_s=0.01)

    node_image._take("a stage", 9, make)
    assert told[-1].startswith("a stage: ")
    assert "package 7" in told[1]
