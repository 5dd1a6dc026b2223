"""Which cluster the reference mesh's driver points `refmesh` at, and with what."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from harness.cluster.api_cluster import ApiCluster
from harness.cluster.kubeconfig import kubeconfig
from harness.errors import MeshError
from harness.mesh import reference
from harness.mesh.protocol import MeshOptions, Root, Validity
from harness.mesh.reference import ReferenceMesh
from harness.mesh.reference_build import ReferenceBuild
from harness.waiting import until
from reference_mesh.manifests import overrides
from reference_mesh.manifests.values import EnvVar


@pytest.mark.parametrize(("context", "named"), [("two", ["--context=two"]), (None, [])])
def test_refmesh_is_run_on_the_cluster_that_the_driver_writes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str | None, named: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config").write_text(kubeconfig(context or "one", "http://127.0.0.1:1", "", "token"))
    asked: dict[str, list[str]] = {}

    def refmesh(_: ReferenceBuild, command: str, *options: str) -> str:
        asked[command] = [*options]
        return ""

    monkeypatch.setattr(ReferenceBuild, "refmesh", refmesh)
    monkeypatch.setattr(ReferenceBuild, "images", lambda _: [])
    monkeypatch.setattr(reference.ReferenceMesh, "until_running", lambda *_: None)
    there = iter([["Namespace linkerd"], []])
    monkeypatch.setattr(reference, "present", lambda *_: next(there))
    cluster = ApiCluster("it", Path("config"), context)

    ReferenceMesh().upgrade(cluster, MeshOptions())
    ReferenceMesh().uninstall(cluster)

    where = [f"--kubeconfig={tmp_path / 'config'}", *named]
    assert asked == {"upgrade": where, "prune": where, "uninstall": where}


@pytest.mark.parametrize(("lifetime_s", "pauses"), [(20.0, ["1s"]), (86_400.0, [])])
def test_sidecars_with_short_certificates_try_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifetime_s: float, pauses: list[str]
) -> None:
    """A real one waits ten seconds otherwise: longer than is left of such a certificate."""
    settings: list[str] = []

    def refmesh(_: ReferenceBuild, *arguments: str) -> str:
        settings.extend(each.removeprefix("--set=") for each in arguments if "--set=" in each)
        return ""

    monkeypatch.setattr(ReferenceBuild, "refmesh", refmesh)
    monkeypatch.setattr(ReferenceBuild, "images", lambda _: [])
    monkeypatch.setattr(reference.ReferenceMesh, "until_running", lambda *_: None)
    (tmp_path / "config").write_text(kubeconfig("one", "http://127.0.0.1:1", "", "token"))
    cluster: Any = SimpleNamespace(
        load_images=lambda _: None, client=ApiCluster("it", tmp_path / "config").client
    )

    ReferenceMesh().install(cluster, MeshOptions(leaf_lifetime_s=lifetime_s))

    told = overrides.combine(settings=settings)[0].proxy.additional_env
    name = "LINKERD2_PROXY_IDENTITY_MIN_REFRESH"
    assert told == tuple(EnvVar(name=name, value=pause) for pause in pauses)


def test_what_is_forged_is_under_an_anchor_that_the_mesh_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the bundle of the mesh's own alone is that of the installation."""
    bundles: list[list[x509.Certificate]] = []

    def refmesh(_: ReferenceBuild, command: str, bundle: str, *options: str) -> str:
        assert (command, options) == ("upgrade", (f"--kubeconfig={tmp_path}/config",))
        text = Path(bundle.removeprefix("--identity-trust-anchors-file=")).read_bytes()
        bundles.append(x509.load_pem_x509_certificates(text))
        return ""

    monkeypatch.setattr(ReferenceBuild, "refmesh", refmesh)
    monkeypatch.setattr(reference.ReferenceMesh, "until_running", lambda *_: None)
    (tmp_path / "config").write_text(kubeconfig("one", "http://127.0.0.1:1", "", "token"))
    mesh, cluster = ReferenceMesh(), ApiCluster("it", tmp_path / "config")

    mesh.trust(cluster, MeshOptions(), [Root.MESH, Root.SECOND])
    mesh.trust(cluster, MeshOptions(), [Root.MESH])

    (own, second), alone = bundles
    assert alone == [own] == x509.load_pem_x509_certificates(mesh.issuer().trust_anchors().encode())
    for root, anchor in ((Root.MESH, own), (Root.SECOND, second)):
        chain = mesh.forge("web", Validity(), root).chain_pem.encode()
        x509.load_pem_x509_certificates(chain)[-1].verify_directly_issued_by(anchor)


def test_the_mesh_is_taken_off_when_its_last_pods_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real cluster lets the pods of a deleted namespace end in their own time."""
    answers = iter([MeshError("these pods are in the mesh: world/client"), ""])

    def refmesh(*_: object) -> str:
        answer = next(answers)
        if isinstance(answer, MeshError):
            raise answer
        return answer

    monkeypatch.setattr(ReferenceBuild, "refmesh", refmesh)
    monkeypatch.setattr(reference, "until", functools.partial(until, clock=NoTime()))
    path = tmp_path / "config"
    path.write_text(kubeconfig("one", "http://127.0.0.1:1", "", "token"))
    there = iter([["Namespace linkerd"], ["Namespace linkerd"], []])
    monkeypatch.setattr(reference, "present", lambda *_: next(there))
    ReferenceMesh().uninstall(ApiCluster("it", path))
    assert next(answers, None) is None
    assert next(there, None) is None, "it was waited for"


def test_where_nothing_was_installed_nothing_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the error that kept a run from installing stays the one that is told."""
    monkeypatch.setattr(reference, "present", lambda *_: [])
    cluster: Any = SimpleNamespace(client=lambda: None)
    ReferenceMesh().uninstall(cluster)


class NoTime:
    """A clock on which waiting takes no time."""

    def now_s(self) -> float:
        return 0.0

    def sleep_s(self, seconds: float) -> None:
        pass
