"""Manifests of workload pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.workload import image, pods

if TYPE_CHECKING:
    from pathlib import Path


def test_only_the_helper_has_rights() -> None:
    """The application drops everything; the helper has the two capabilities that it needs."""
    role = pods.Role(name="a", namespace="n", helper=True)
    app, helper = pods.pod(role)["spec"]["containers"]

    assert app["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert helper["securityContext"]["capabilities"]["add"] == ["NET_RAW", "KILL"]
    assert pods.pod(role)["spec"]["shareProcessNamespace"] is True


def test_without_a_helper_nothing_is_shared() -> None:
    """A plain pod has one container and keeps its processes to itself."""
    spec = pods.pod(pods.Role(name="a", namespace="n"))["spec"]

    assert [container["name"] for container in spec["containers"]] == ["app"]
    assert "shareProcessNamespace" not in spec


def test_service_and_deployment_select_the_same_pods() -> None:
    """Labels of a role's own never change what its Service selects."""
    role = pods.Role(name="a", namespace="n", labels={"app": "other", "version": "2"}, ports=[81])
    deployment = pods.deployment(role, replicas=2)
    service = pods.service(role)
    labels = deployment["spec"]["template"]["metadata"]["labels"]

    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["version"] == "2"
    assert {port["port"] for port in service["spec"]["ports"]} == {8080, 9000, 9001, 81, 9900}


def test_further_ports_keep_the_usual_one() -> None:
    """Asking for one more HTTP port does not take 8080 away, nor does steering get lost."""
    role = pods.Role(name="a", namespace="n", ports=[81], steer="delay=5ms")
    arguments = pods.pod(role)["spec"]["containers"][0]["args"]

    assert arguments == ["serve", "--http", "8080", "--http", "81", "--steer", "delay=5ms"]


def test_the_image_shows_one_program(tmp_path: Path) -> None:
    """What the manifests name is what the image is called and what it starts."""
    made = image.image(tmp_path / "program")
    container = pods.pod(pods.Role(name="a", namespace="n"))["spec"]["containers"][0]

    assert container["image"] == made.reference
    assert list(made.entrypoint) == [made.normalised()[0].target]
