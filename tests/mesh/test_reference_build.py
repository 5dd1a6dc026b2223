"""Two builds of the reference mesh: what tells them apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.errors import EnvironmentLacks, MeshError
from harness.mesh.protocol import MeshOptions
from harness.mesh.reference_build import ReferenceBuild
from harness.mesh.sources import Sources
from suites.mutants import refmesh as twin

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> ReferenceBuild:
    """The build of the last commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARGO_TARGET_DIR", str(tmp_path_factory.mktemp("target")))
        return ReferenceBuild.of(MeshOptions(build="HEAD"))


def test_all_images_of_another_build_name_its_commit(other: ReferenceBuild) -> None:
    """As users see them who run its `refmesh`: so one cluster can hold both builds."""
    assert other.sources is not None
    printed = other.refmesh("install", "--ignore-cluster")

    images = set(re.findall(r"image: (meshmark\.dev/\S+)", printed))
    assert {image.rpartition("-g")[2] for image in images} == {other.sources.commit}


def test_another_build_runs_its_own_sources(other: ReferenceBuild) -> None:
    assert other.sources is not None
    image = other._control_plane()

    root = other.sources.root
    shown = {bind.source for bind in image.normalised()}
    assert root / "reference_mesh" in shown
    assert image.env is not None
    assert image.env["PYTHONPATH"] == str(root)
    assert ReferenceBuild()._control_plane().reference != image.reference


def test_a_mutants_refmesh_is_the_twin() -> None:
    """It knows the same commands, and says as much when it is asked for others."""
    options = MeshOptions(mutant="upgrade-forgets-issuer", refmesh_module=twin.__name__)
    build = ReferenceBuild(options=options)
    with pytest.raises(MeshError, match="refmesh none-such: exit code 2"):
        build.refmesh("none-such")


def test_the_same_sources_are_no_earlier_build(tmp_path: Path) -> None:
    same = Sources(tmp_path, "0123456789ab", same_proxy=True, same_mesh=True)
    with pytest.raises(EnvironmentLacks, match="0123456789ab and this clone have the same sources"):
        ReferenceBuild(same).images()
