"""What a suite leaves on a cluster that is somebody's."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster import Image
from harness.errors import MeshError
from harness.mesh.protocol import MeshOptions
from harness.plugin import Options
from harness.record.catalogue import Lane
from suites import conftest as stand

if TYPE_CHECKING:
    from collections.abc import Iterator


class HalfMesh:
    """A mesh whose installation fails when half of it is there."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def images(self, _: Any) -> list[Any]:
        return []

    def install(self, *_: Any) -> None:
        self.calls.append("install")
        raise MeshError("deployment linkerd-identity never became available")

    def uninstall(self, _: Any) -> None:
        self.calls.append("uninstall")


@pytest.mark.parametrize(
    ("engine", "keep", "calls"),
    [
        ("external", False, ["install", "uninstall"]),
        ("external", True, ["install"]),
        ("embedded", False, ["install"]),
    ],
)
def test_half_a_mesh_is_taken_off_a_cluster_that_lives_on(
    monkeypatch: pytest.MonkeyPatch, engine: str, keep: bool, calls: list[str]
) -> None:
    driver = HalfMesh()

    @contextlib.contextmanager
    def opened(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(engine=engine, name="c", kubeconfig="k", load_images=lambda _: None)

    monkeypatch.setattr(stand.meshes, "driver", lambda _: driver)
    monkeypatch.setattr(stand.workload_image, "build", lambda: None)
    options = SimpleNamespace(mesh="half", cluster="c", keep=keep, proxy_binary=None, mutant=None)
    context = SimpleNamespace(hint=lambda _: None)

    with pytest.raises(MeshError, match="never became available"):
        stand._lab(options, context, Lane.STEADY, opened()).__enter__()
    assert driver.calls == calls


def test_a_cluster_made_elsewhere_is_told_which_images_it_must_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [SimpleNamespace(reference=name) for name in ("a:1", "b:2")]
    monkeypatch.setattr(stand.meshes, "driver", lambda _: SimpleNamespace(images=lambda _: images))
    told: list[str] = []
    stand.build(
        Options(mesh="half", cluster="context:c"), MeshOptions(), Image("c:3", [], []),
        progress=told.append,
    )  # fmt: skip
    assert told == ["context:c must have, or be able to pull: a:1, b:2, c:3"]
