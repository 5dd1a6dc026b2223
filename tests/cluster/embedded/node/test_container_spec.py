"""From a container's specification to privileges and a command."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.embedded.api.node import Image
from harness.cluster.embedded.container_spec import CAPABILITIES, request
from harness.errors import ClusterError

IMAGE = Image(reference="test:1", entrypoint=("run",), user=1000)


class NoVolumes:
    def path(self, name: str) -> None:
        raise ClusterError(f"no volume {name}")


def made(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    pod = {
        "metadata": {"name": "a", "namespace": "shop", "uid": "u"},
        "spec": spec,
        "status": {"podIP": "10.244.0.9"},
    }
    return request(pod, {"name": "app", **(container or {})}, IMAGE, {"X": "1"}, NoVolumes())


def names(mask: int) -> set[str]:
    return {name for number, name in enumerate(CAPABILITIES) if mask >> number & 1}


def test_a_command_replaces_the_image_s_and_arguments_follow() -> None:
    assert made()["command"] == ["run"]
    assert made({"args": ["$(X)"]})["command"] == ["run", "1"]
    assert made({"command": ["other"], "args": ["b"]})["command"] == ["other", "b"]


def test_the_user_comes_from_the_container_then_the_pod_then_the_image() -> None:
    assert made()["uid"] == 1000
    assert made(securityContext={"runAsUser": 5})["uid"] == 5
    assert made({"securityContext": {"runAsUser": 0}}, securityContext={"runAsUser": 5})["uid"] == 0


def test_root_is_refused_where_it_must_not_run() -> None:
    with pytest.raises(ClusterError, match="runAsNonRoot"):
        made({"securityContext": {"runAsUser": 0, "runAsNonRoot": True}})


def test_capabilities_are_added_and_dropped() -> None:
    add = {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}

    assert names(made(add)["capabilities"]) <= {"NET_ADMIN"}
    assert "SYS_ADMIN" not in names(made()["capabilities"])
    with pytest.raises(ClusterError, match="NO_SUCH"):
        made({"securityContext": {"capabilities": {"add": ["NO_SUCH"]}}})


def test_names_are_resolved_from_the_pod_s_namespace_first() -> None:
    text = made()["files"]["/etc/resolv.conf"]

    assert "search shop.svc.cluster.local svc.cluster.local cluster.local" in text
    assert "options ndots:5" in text
