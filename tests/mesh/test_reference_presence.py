"""Whatever has Linkerd's names or labels counts as a mesh that is there."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from lightkube.core.exceptions import ApiError
from lightkube.models.apiextensions_v1 import (
    CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.admissionregistration_v1 import MutatingWebhookConfiguration
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.core_v1 import Namespace
from lightkube.resources.rbac_authorization_v1 import ClusterRole

from harness.errors import ClusterError
from harness.mesh.reference_presence import present
from reference_mesh.manifests import crds

OURS = {"linkerd.io/control-plane-ns": "linkerd"}


class Client:
    """An API that lists what it was given, by label."""

    def __init__(self, *held: Any) -> None:
        self.held = held

    def list(self, kind: type, labels: dict[str, str] | None = None) -> list[Any]:
        return [
            each
            for each in self.held
            if isinstance(each, kind)
            and (labels or {}).items() <= (each.metadata.labels or {}).items()
        ]


def definition(name: str, group: str) -> CustomResourceDefinition:
    names = CustomResourceDefinitionNames(kind="K", plural="ks")
    spec = CustomResourceDefinitionSpec(group=group, names=names, scope="Namespaced", versions=[])
    return CustomResourceDefinition(metadata=ObjectMeta(name=name), spec=spec)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (Namespace(metadata=ObjectMeta(name="linkerd")), "Namespace linkerd"),
        (
            definition("servers.policy.linkerd.io", "policy.linkerd.io"),
            "CustomResourceDefinition servers.policy.linkerd.io",
        ),
        (
            definition("serviceprofiles.linkerd.io", "linkerd.io"),
            "CustomResourceDefinition serviceprofiles.linkerd.io",
        ),
        (
            MutatingWebhookConfiguration(metadata=ObjectMeta(name="injector", labels=OURS)),
            "MutatingWebhookConfiguration injector",
        ),
        (ClusterRole(metadata=ObjectMeta(name="left", labels=OURS)), "ClusterRole left"),
    ],
)
def test_a_part_of_a_mesh_is_told(held: Any, told: str) -> None:
    client: Any = Client(held)
    assert present(client, "linkerd") == [told]


def test_each_definition_that_is_installed_counts() -> None:
    """Also those that the mesh shares with others, who would lose all their objects."""
    installed = [
        definition(each["metadata"]["name"], each["spec"]["group"]) for each in crds.documents()
    ]
    client: Any = Client(*installed)
    assert len(present(client, "linkerd")) == len(installed)


def test_what_is_others_is_none() -> None:
    client: Any = Client(
        Namespace(metadata=ObjectMeta(name="linkerd-viz")),
        definition("issuers.notlinkerd.io", "notlinkerd.io"),
        ClusterRole(metadata=ObjectMeta(name="view")),
    )
    assert present(client, "linkerd") == []


def test_who_may_not_look_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        request = httpx2.Request("GET", "http://api/api/v1/namespaces")
        status = {"code": 403, "message": "namespaces is forbidden: User you cannot list"}
        raise ApiError(request, httpx2.Response(403, json=status, request=request))

    client: Any = Client()
    monkeypatch.setattr(client, "list", refuse)
    with pytest.raises(ClusterError, match="look for a mesh on the cluster: namespaces is forbidd"):
        present(client, "linkerd")
