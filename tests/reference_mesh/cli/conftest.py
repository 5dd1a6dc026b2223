"""The command line against an API with nothing behind it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from reference_mesh.cli import main
from reference_mesh.manifests import documents
from tests.reference_mesh.cli.fake_api import FakeApi, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    fake = FakeApi()
    path = tmp_path / "kubeconfig"
    fake.kubeconfig = str(path)
    with listening(fake, path):
        yield fake


@pytest.fixture
def refmesh(api: FakeApi) -> Callable[..., Result]:
    """Run the command line against the fake API."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002 - click's
        result = CliRunner().invoke(main, ["--kubeconfig", api.kubeconfig, *arguments], input=input)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


@pytest.fixture(scope="session")
def manifest() -> list[dict[str, Any]]:
    """What both forms of `install` print; made once, since keys and YAML take their time."""
    forms = (["install", "--crds"], ["install", "--ignore-cluster"])
    text = "".join(CliRunner().invoke(main, form).stdout for form in forms)
    return documents.load_all(text, "refmesh install")


@pytest.fixture
def installed(api: FakeApi, manifest: list[dict[str, Any]]) -> FakeApi:
    """An API on which the mesh was installed, with its pods ready."""
    for document in copy.deepcopy(manifest):
        api.add(document)
    for name in ("identity", "destination", "proxy-injector"):
        deployment = api.of("Deployment", f"linkerd-{name}")
        deployment["status"] = {"readyReplicas": 1}
        template = deployment["spec"]["template"]
        api.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **template["metadata"],
                    "name": f"linkerd-{name}-0",
                    "namespace": "linkerd",
                },
                "spec": template["spec"],
                "status": {
                    "phase": "Running",
                    "podIP": "10.244.0.9",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "linkerd-proxy", "ready": True, "state": {}}],
                },
            }
        )
    for service in [o for o in api.objects.values() if o["kind"] == "Service"]:
        name = service["metadata"]["name"]
        api.add(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": "linkerd",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": True}}],
            }
        )
    return api
