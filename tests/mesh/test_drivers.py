"""Drivers answer intents in their mesh's words, or say that they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import mesh, toolchain
from harness.errors import Unsupported, UsageError
from harness.mesh.intents import Authorize, Source, Target, TlsMode, TlsPolicy
from harness.mesh.protocol import Enrolment, MeshOptions, Root
from reference_mesh.manifests.values import Values

TARGET = Target(namespace="shop", labels={"app": "web"}, port=8080)
POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "web:1"}]}}


def test_an_unknown_mesh_is_told_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match="Did you mean reference"):
        mesh.driver("referense")


@pytest.mark.parametrize("name", mesh.NAMES)
def test_enrolling_leaves_its_argument_alone(name: str) -> None:
    before = repr(POD)
    mesh.driver(name).enroll(POD)
    assert repr(POD) == before


@pytest.mark.parametrize(
    ("mode", "access"),
    [(TlsMode.STRICT, "all-authenticated"), (TlsMode.PERMISSIVE, "all-unauthenticated")],
)
def test_tls_modes_are_access_policies(mode: TlsMode, access: str) -> None:
    (server,) = mesh.driver("reference").express(TlsPolicy(name="p", target=TARGET, mode=mode))
    assert server["spec"]["accessPolicy"] == access
    assert server["spec"]["podSelector"] == {"matchLabels": {"app": "web"}}


def test_nobody_authorized_is_a_server_that_denies() -> None:
    made = mesh.driver("reference").express(Authorize(name="p", target=TARGET))
    assert [(each["kind"], each["spec"].get("accessPolicy")) for each in made] == [
        ("Server", "deny")
    ]


def test_each_source_is_authorized_by_a_policy_of_its_own() -> None:
    sources = (Source(service_account=("shop", "till")), Source(namespace="ops"))
    made = mesh.driver("reference").express(Authorize(name="p", target=TARGET, sources=sources))
    spoken = [each["spec"].get("identityRefs") for each in made if "identityRefs" in each["spec"]]
    assert spoken == [
        [{"kind": "ServiceAccount", "name": "till", "namespace": "shop"}],
        [{"kind": "Namespace", "name": "ops"}],
    ]
    policies = [each for each in made if each["kind"] == "AuthorizationPolicy"]
    assert len(policies) == 2


def test_a_source_is_one_thing() -> None:
    with pytest.raises(ValueError, match="one thing"):
        Source(namespace="ops", authenticated=True)


@pytest.mark.parametrize("name", ["unmeshed", "envoy"])
def test_what_is_not_claimed_is_unsupported(name: str) -> None:
    nowhere: Any = None
    with pytest.raises(Unsupported):
        mesh.driver(name).express(Authorize(name="p", target=TARGET))
    with pytest.raises(Unsupported):
        mesh.driver(name).trust(nowhere, MeshOptions(), [Root.MESH, Root.SECOND])


def test_the_harness_has_its_own_way_into_a_meshed_pod() -> None:
    pod = mesh.driver("reference").enroll(POD, Enrolment(opaque_ports=(9000, 9001)))
    annotations = pod["metadata"]["annotations"]
    assert annotations["config.linkerd.io/skip-inbound-ports"] == "9900,9901"
    assert annotations["config.linkerd.io/opaque-ports"] == "9000,9001"


def test_the_driver_brings_the_images_that_the_mesh_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own program, and with iptables where rules are set."""
    names = ("linkerd2-proxy", "linkerd2-proxy-identity", "linkerd2-proxy-init")
    programs = {name: Path("/built", name) for name in names}
    monkeypatch.setattr(toolchain, "build", lambda _package, **_: dict(programs))
    values = Values()
    named = [(each.name, each.version) for each in (values.proxy.image, values.proxy_init.image)]
    named.append((values.controller_image, values.controller_image_version))

    proxy, init, control_plane = images = mesh.driver("reference").images(
        MeshOptions(proxy_binary=Path("/mine"))
    )

    assert [each.reference for each in images] == [":".join(each) for each in named]
    shown = {bind.target: str(bind.source) for bind in proxy.normalised()}
    assert shown["/usr/lib/linkerd/linkerd2-proxy"] == "/mine"
    assert "/usr/lib/linkerd/linkerd2-proxy-init" not in shown
    assert init.packages == ["iptables"]
    assert proxy.user == values.proxy.uid
    assert control_plane.user == values.controller_uid
