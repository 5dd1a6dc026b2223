from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reference_mesh.manifests import crds

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = [
    pytest.param(version, id=f"{crd['metadata']['name']}/{version['name']}")
    for crd in crds.documents()
    for version in crd["spec"]["versions"]
]


def nodes(schema: dict[str, Any], path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from nodes(member, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from nodes(schema[word], f"{path}[]")


@pytest.mark.parametrize("version", VERSIONS)
def test_schema_is_structural(version: dict[str, Any]) -> None:
    """The rules that a real API server refuses a definition for."""
    for path, schema in nodes(version["schema"]["openAPIV3Schema"]):
        free = schema.get("x-kubernetes-int-or-string") or schema.get(
            "x-kubernetes-preserve-unknown-fields"
        )
        assert schema.get("type") or free, f"{path} has no type"
        assert not ("properties" in schema and "additionalProperties" in schema), path
        for member in schema.get("required", []):
            assert member in schema["properties"], f"{path} requires unknown {member}"
        for branch in schema.get("oneOf", []):
            assert set(branch) == {"required"}, path
            assert set(branch["required"]) <= set(schema["properties"]), path


@pytest.mark.parametrize("crd", crds.documents(), ids=lambda crd: crd["metadata"]["name"])
def test_one_version_is_stored_and_named_as_the_api_wants(crd: dict[str, Any]) -> None:
    spec = crd["spec"]
    assert [version["storage"] for version in spec["versions"]].count(True) == 1
    assert crd["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"


@pytest.mark.parametrize(
    ("group", "kind", "versions"),
    [
        ("policy.linkerd.io", "Server", {"v1beta1", "v1beta2", "v1beta3"}),
        ("linkerd.io", "ServiceProfile", {"v1alpha1", "v1alpha2"}),
        (
            "split.smi-spec.io",
            "TrafficSplit",
            {"v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"},
        ),
        ("flagger.app", "Canary", {"v1beta1"}),
    ],
)
def test_versions_that_users_write_are_served(group: str, kind: str, versions: set[str]) -> None:
    found = next(
        crd["spec"]
        for crd in crds.documents()
        if (crd["spec"]["group"], crd["spec"]["names"]["kind"]) == (group, kind)
    )
    assert {version["name"] for version in found["versions"] if version["served"]} == versions
