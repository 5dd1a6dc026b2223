"""Which node image is taken, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.cluster.kind.node_image import (
    BUILT,
    PINNED,
    Choice,
    freshness,
    is_outdated,
    node_image,
)
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from tests.cluster.kind.conftest import Programs


def docker_with(
    programs: Programs, images: str, pull: str, made_of: str = freshness.made_of()
) -> None:
    """A Docker that has these images, built from that, and pulls so."""
    has = f'for one in {images or "none"}; do [ "$5" = "$one" ] && echo {made_of} && exit 0; done'
    gone = 'echo "Error: No such image: $5" >&2; exit 1'
    programs.put(
        "docker", f'case "$1" in image) {has}; {gone};; pull) {pull};; esac', healthy=False
    )


def test_kinds_own_is_taken_where_docker_has_it(programs: Programs) -> None:
    docker_with(programs, f"{PINNED} {BUILT}", "exit 9")
    assert node_image() == Choice(PINNED, "Docker has it")


def test_a_built_one_is_taken_without_asking_a_registry(programs: Programs) -> None:
    docker_with(programs, BUILT, "exit 9")
    assert node_image() == Choice(BUILT, "built here")
    assert not programs.calls("docker pull")


def test_a_built_one_that_is_out_of_date_is_not_taken(programs: Programs) -> None:
    docker_with(programs, BUILT, "exit 0", made_of="old")
    assert node_image() == Choice(PINNED, "pulled from its registry")
    docker_with(programs, BUILT, "echo 'no such host' >&2; exit 1", made_of="old")
    with pytest.raises(EnvironmentLacks, match=r"out of date: run `meshmark node-image build`"):
        node_image()
    assert is_outdated()


def test_what_chooses_an_image_does_not_make_it_out_of_date() -> None:
    makers = [path.name for path in freshness._makers() if path.parent.name == "node_image"]
    assert "build.py" in makers
    assert "__init__.py" not in makers


def test_without_either_kinds_own_is_pulled_by_its_digest(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    docker_with(programs, "", "exit 0")
    assert node_image() == Choice(PINNED, "pulled from its registry")
    (pulled,) = programs.calls("docker pull")
    assert "kindest/node:v1.34.11@sha256:" in pulled
    told = "meshmark: pulling kindest/node:v1.34.11, which may take minutes\n"
    assert capsys.readouterr().err == told


def test_without_a_registry_the_way_to_build_one_is_named(programs: Programs) -> None:
    docker_with(programs, "", "echo 'dial tcp: lookup r: no such host' >&2; exit 1")
    with pytest.raises(EnvironmentLacks, match="no such host") as caught:
        node_image()
    assert "Build one with `meshmark node-image build`" in str(caught.value)
    assert "a quarter of an hour" in str(caught.value)


def test_what_the_user_named_is_taken_or_refused(programs: Programs) -> None:
    docker_with(programs, f"mine:1 {PINNED}", "echo 'not found' >&2; exit 1")
    assert node_image("mine:1") == Choice("mine:1", "asked for")
    with pytest.raises(EnvironmentLacks, match="no image theirs:1 and cannot pull it"):
        node_image("theirs:1")


def test_a_docker_that_does_not_run_is_not_taken_for_a_missing_image(programs: Programs) -> None:
    programs.put("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1", healthy=False)
    with pytest.raises(EnvironmentLacks, match="Docker does not run"):
        node_image()


@pytest.mark.parametrize(
    ("reference", "minor"),
    [(PINNED, (1, 34)), (BUILT, (1, 34)), ("kindest/node:v1.36.4", (1, 36)), ("mine:1", (1, 34))],
)
def test_the_tag_tells_the_version_of_kubernetes(reference: str, minor: tuple[int, int]) -> None:
    assert Choice(reference, "").kubernetes == minor
