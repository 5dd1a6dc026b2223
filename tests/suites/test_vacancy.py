"""A cluster with a mesh is refused: what is there, and the way out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness import mesh as meshes
from harness.errors import ClusterError, UsageError
from suites.vacancy import removal, require_vacant


def cluster(answers: bool = True) -> Any:
    def require_answer() -> None:
        if not answers:
            raise ClusterError("no answer")

    return SimpleNamespace(name="prod", context="prod eu", require_answer=require_answer)


def mesh(*there: str) -> Any:
    return SimpleNamespace(present=lambda _: [*there], removal=lambda _: "meshctl uninstall")


def test_an_empty_cluster_is_taken() -> None:
    require_vacant(mesh(), cluster())


def test_what_is_there_is_named_with_the_way_out() -> None:
    there = [f"CustomResourceDefinition c{number}" for number in range(6)]
    with pytest.raises(UsageError) as raised:
        require_vacant(mesh("Namespace linkerd", *there), cluster())
    said = str(raised.value)
    assert "cluster prod has a mesh already, or a part of one: Namespace linkerd, Custom" in said
    assert "c2 and 3 more. A run would install over it, and delete it in the end" in said
    assert said.endswith(
        "kubectl delete namespaces --context='prod eu' -l app.kubernetes.io/managed-by=meshmark"
        " && meshctl uninstall"
    )


def test_a_cluster_that_does_not_answer_is_not_called_empty() -> None:
    with pytest.raises(ClusterError, match="no answer"):
        require_vacant(mesh(), cluster(answers=False))


def test_each_mesh_names_the_commands_that_end_it() -> None:
    told = {name: removal(meshes.driver(name), cluster()) for name in meshes.NAMES}
    assert told["reference"].endswith(
        "refmesh uninstall --context='prod eu' | kubectl delete --context='prod eu' -f -"
    )
    assert told["envoy"] == told["unmeshed"]
    assert told["envoy"].endswith("managed-by=meshmark")
