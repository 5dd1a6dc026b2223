"""What a suite leaves on a cluster that is somebody's."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster import Image
from harness.errors import MeshError, UsageError
from harness.mesh.protocol import MeshOptions
from harness.plugin import Options
from harness.record.catalogue import Lane
from suites import conftest as stand

if TYPE_CHECKING:
    from collections.abc import Callable


class HalfMesh:
    """A mesh whose installation fails when half of it is there."""

    def __init__(self, *there: str) -> None:
        self.calls: list[str] = []
        self.there = [*there]

    def present(self, _: Any) -> list[str]:
        return self.there

    def removal(self, cluster: Any) -> str:
        return f"meshctl uninstall {cluster.name}"

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
    with pytest.raises(MeshError, match="never became available"):
        bring_up(monkeypatch, driver, engine=engine, keep=keep)
    assert driver.calls == calls


def test_a_mesh_that_was_there_before_is_neither_installed_over_nor_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = HalfMesh("Namespace mesh")
    with pytest.raises(UsageError, match="cluster c has a mesh already"):
        bring_up(monkeypatch, driver, engine="external")
    assert driver.calls == []


def test_what_is_kept_is_told_with_the_way_to_be_rid_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    for engine in ("external", "embedded"):
        with pytest.raises(MeshError):
            bring_up(monkeypatch, HalfMesh(), engine=engine, keep=True, hint=told.append)
    namespaces = "kubectl delete namespaces --context=c -l app.kubernetes.io/managed-by=meshmark"
    assert told == [
        f"kept on cluster c; ends with: {namespaces} && meshctl uninstall c",
        "kept: export KUBECONFIG=k  (ends with: meshmark down --name c)",
    ]


def bring_up(
    monkeypatch: pytest.MonkeyPatch,
    driver: HalfMesh,
    *,
    engine: str,
    keep: bool = False,
    hint: Callable[[str], None] = lambda _: None,
) -> None:
    cluster = SimpleNamespace(
        engine=engine,
        name="c",
        context="c",
        kubeconfig="k",
        load_images=lambda _: None,
        require_answer=lambda: None,
    )
    monkeypatch.setattr(stand.meshes, "driver", lambda _: driver)
    monkeypatch.setattr(stand.workload_image, "build", lambda: None)
    options: Any = SimpleNamespace(
        mesh="half", cluster="c", keep=keep, proxy_binary=None, mutant=None
    )
    context: Any = SimpleNamespace(hint=hint)
    opening: Any = contextlib.nullcontext(cluster)
    stand._lab(options, context, Lane.STEADY, opening).__enter__()


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
