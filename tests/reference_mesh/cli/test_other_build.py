"""From the build of an earlier commit to this one and back, by kubectl's own merge."""

from __future__ import annotations

import json

import pytest

from harness.errors import EnvironmentLacks
from harness.mesh.protocol import MeshOptions
from harness.mesh.reference_build import ReferenceBuild
from tests.reference_mesh.cli.shell import User, shell

# Of a test alone: the programs of both builds may have to be made first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

KEPT = ("secret/linkerd-identity-issuer", "configmap/linkerd-identity-trust-roots")
COMPONENTS = ("identity", "destination", "proxy-injector")


def test_kubectl_takes_the_mesh_to_this_build_and_back(kubectl_program: str) -> None:
    """
    Fields that one build sets and the other does not come and go, and nobody's keys change.

    The harness applies on the server's side; `kubectl apply` compares with what it applied last,
    and a list that is keyed otherwise, or a field that stays behind, would show here alone.
    """
    this = ReferenceBuild()
    try:
        earlier = ReferenceBuild.of(MeshOptions(build="last-change^"))
        images = [*this.images(), *earlier.images()]
    except EnvironmentLacks as lacks:
        pytest.skip(str(lacks))
    with shell(kubectl_program, images) as user:
        user.apply(typed(earlier, user, "install", "--crds"))
        user.apply(typed(earlier, user, "install"))
        assert_runs(user, earlier)
        keys = kept(user)
        for build in (this, earlier, this):
            user.apply(typed(build, user, "upgrade", "--crds"))
            user.apply(typed(build, user, "upgrade"))
            user.delete_if_any(typed(build, user, "prune"))
            assert_runs(user, build)
            assert typed(build, user, "prune") == ""
        assert kept(user) == keys
        assert "‼" not in user.check()
        again = user.apply(typed(this, user, "upgrade"))
        assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}


def typed(build: ReferenceBuild, user: User, *arguments: str) -> str:
    """What the `refmesh` of a build prints."""
    return build.refmesh("--kubeconfig", str(user.kubeconfig), *arguments)


def kept(user: User) -> list[object]:
    """What an upgrade may not change."""
    found = json.loads(user.kubectl("-n", "linkerd", "get", *KEPT, "-o", "json"))
    return [item["data"] for item in found["items"]]


def assert_runs(user: User, build: ReferenceBuild) -> None:
    """All of the control plane is of this build, and none of another is left."""
    user.until_rolled_out()
    for component in COMPONENTS:
        found = json.loads(
            user.kubectl("-n", "linkerd", "get", f"deploy/linkerd-{component}", "-o", "json")
        )
        spec = found["spec"]["template"]["spec"]
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        tags = {each["image"].rpartition(":")[2] for each in containers}
        assert tags == {build.version}, component
    typed(build, user, "check", "--wait", "2m")
