"""A member of a mesh is not ready without its sidecar, and knows the mesh's word on callers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod

from harness.cluster import pod_states
from harness.errors import MeshError
from harness.mesh.protocol import SidecarFacts
from harness.workload import pods
from suites.member import Member

SIDECAR = SidecarFacts(container="linkerd-proxy", process="linkerd2-proxy", admin_port=4191)


def ready(
    spec: dict[str, Any], *, meshed: bool = True, sidecar: SidecarFacts | None = SIDECAR
) -> None:
    class Known(Member):
        def pods(self) -> list[Pod]:
            metadata = {"name": "web-1", "namespace": "shop"}
            return [Pod.from_dict({"metadata": metadata, "spec": spec})]

    space: Any = SimpleNamespace(name="shop", lab=SimpleNamespace(mesh=SimpleNamespace()))
    space.lab.mesh.sidecar = sidecar
    Known(space, pods.Role(name="web", namespace="shop"), 1, meshed=meshed).ready()


@pytest.fixture(autouse=True)
def pods_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_states, "until_ready", lambda *_, **__: None)


def test_a_pod_that_was_not_injected_is_an_error_of_the_mesh() -> None:
    with pytest.raises(MeshError, match=r"shop/web-1 .* without container linkerd-proxy"):
        ready({"containers": [{"name": "app"}]})


@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_sidecar_may_be_a_container_or_a_native_sidecar(where: str) -> None:
    spec: dict[str, Any] = {"containers": [{"name": "app"}]}
    spec[where] = [*spec.get(where, []), {"name": "linkerd-proxy"}]
    ready(spec)


def test_nobody_else_needs_one() -> None:
    ready({"containers": [{"name": "app"}]}, meshed=False)
    ready({"containers": [{"name": "app"}]}, sidecar=None)


def test_callers_are_known_by_the_fields_of_the_mesh() -> None:
    space: Any = SimpleNamespace(lab=SimpleNamespace(mesh=SimpleNamespace()))
    space.lab.mesh.identity_headers = ("x-caller", "x-client")
    attempt: Any = SimpleNamespace(headers=[("X-Caller", "a"), ("host", "b"), ("x-caller", "c")])
    assert Member(space, pods.Role(name="web", namespace="shop"), 1).told(attempt) == ("a", "c")
