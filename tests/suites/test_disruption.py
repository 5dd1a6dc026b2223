"""What a check does to the mesh is undone, whatever becomes of the check."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import NotInTime, Unsupported
from harness.mesh import driver
from harness.mesh.protocol import MeshOptions, Root
from suites.conformance.disruption import second_anchor


def test_the_second_anchor_is_taken_away_when_the_check_fails() -> None:
    trusted: list[tuple[Root, ...]] = []
    mesh = SimpleNamespace(
        control_plane=dict,
        trust=lambda _cluster, _options, roots: trusted.append(roots),
        until_running=lambda *_: None,
    )
    lab: Any = SimpleNamespace(mesh=mesh, cluster=None, options=MeshOptions(), logbook=None)

    with pytest.raises(NotInTime), second_anchor(lab):
        raise NotInTime

    assert trusted == [(Root.MESH, Root.SECOND), (Root.MESH,)]


def test_a_mesh_whose_anchors_cannot_be_changed_is_not_judged() -> None:
    lab: Any = SimpleNamespace(mesh=driver("envoy"), cluster=None, options=MeshOptions())

    with pytest.raises(Unsupported, match="trust anchors"), second_anchor(lab):
        pytest.fail("the block is entered")
