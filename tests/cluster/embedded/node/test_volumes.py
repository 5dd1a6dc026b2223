"""The files that a pod sees of config maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster.embedded import volumes
from harness.cluster.embedded.environment import Sources
from harness.cluster.embedded.store import Store
from harness.cluster.embedded.volumes import PodVolumes
from harness.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(volumes, "STAGE", str(tmp_path))
    store = Store()
    store.create(("", "namespaces"), {"metadata": {"name": "shop"}})
    settings = {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "1"}}
    store.create(("", "configmaps"), settings)
    return store


def of_pod(store: Store, source: dict[str, Any]) -> PodVolumes:
    volume = {"name": "v", "configMap": {"name": "settings", **source}}
    pod = {"metadata": {"namespace": "shop", "uid": "u"}, "spec": {"volumes": [volume]}}
    return PodVolumes(pod, Sources(store, "shop"), tokens=None)


def test_a_change_shows_all_at_once(store: Store) -> None:
    made = of_pod(store, {})
    made.prepare()
    file = made.path("v") / "a"
    assert file.read_text() == "1"

    changed = store.get(("", "configmaps"), "shop", "settings") | {"data": {"a": "2", "b": "3"}}
    store.update(("", "configmaps"), changed)
    made.refresh({"metadata": {"namespace": "shop", "uid": "u"}, "spec": made._pod["spec"]})

    assert file.read_text() == "2"
    assert file.with_name("b").read_text() == "3"


def test_what_cannot_be_written_leaves_nothing(store: Store) -> None:
    made = of_pod(store, {"items": [{"key": "a", "path": "../out"}]})
    for _ in range(2):
        with pytest.raises(ClusterError, match="cannot be at"):
            made.prepare()

    assert list(made.path("v").iterdir()) == []
