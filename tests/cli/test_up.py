"""What `meshmark up` asks of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from harness.cli import up
from harness.cluster.model import Image
from harness.errors import ClusterError

if TYPE_CHECKING:
    import pytest


def test_a_kind_cluster_has_its_images_before_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, workload = Image("mesh:1", (), ("/mesh",)), Image("workload:1", (), ("/workload",))
    asked: list[Any] = []

    class Driver:
        def images(self, _: object) -> list[Image]:
            return [mesh]

    def make(name: str, **more: Any) -> None:
        asked.append((name, more["images"]))
        raise ClusterError("no space on node")

    monkeypatch.setattr(up.choice, "require", lambda _: None)
    monkeypatch.setattr(up.choice, "refuse_twice", lambda *_: None)
    monkeypatch.setattr(up.meshes, "driver", lambda _: Driver())
    monkeypatch.setattr(up.workload_image, "build", lambda: workload)
    monkeypatch.setattr(up.kind, "up", make)

    result = CliRunner().invoke(up.command, ["--cluster", "kind", "--name", "mine"])
    assert isinstance(result.exception, ClusterError)
    assert asked == [("mine", [mesh, workload])]
