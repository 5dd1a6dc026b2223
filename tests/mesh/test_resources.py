"""Waiting for deployments: what the reader sees when one of them does not come up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from harness.errors import EnvironmentLacks, PodFailed
from harness.mesh.resources import deployments_available

LABELS = {"app": "web"}
IMAGE = "meshmark.dev/web:1"


class Client:
    """An API with one deployment of one pod, whose image the node has not got."""

    def __init__(self, reason: str, *, replicas: int = 1) -> None:
        self.deployment = Deployment.from_dict(
            {
                "metadata": {"name": "web", "namespace": "shop", "generation": 2},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": LABELS},
                    "template": {"metadata": {"labels": LABELS}, "spec": {"containers": []}},
                },
                "status": {"observedGeneration": 2, "replicas": replicas, "updatedReplicas": 1},
            }
        )
        waits = {"reason": reason, "message": "it says"}
        container = {"name": "app", "image": IMAGE, "imageID": "", "ready": False}
        container |= {"restartCount": 0, "state": {"waiting": waits}}
        self.pod = Pod.from_dict(
            {
                "metadata": {"name": "web-1", "namespace": "shop", "labels": LABELS},
                "status": {"phase": "Pending", "containerStatuses": [container]},
            }
        )

    def get(self, *_: Any, **__: Any) -> Deployment:
        return self.deployment

    def list(self, _: type, *, namespace: str, labels: dict[str, str]) -> list[Pod]:
        assert (namespace, labels) == ("shop", LABELS)
        return [self.pod]


def wait(client: Client, timeout_s: float) -> None:
    cluster: Any = SimpleNamespace(client=lambda: client)
    deployments_available(cluster, "shop", ["web"], timeout_s=timeout_s)


def test_a_deployment_that_is_late_tells_what_its_pods_wait_for() -> None:
    with pytest.raises(EnvironmentLacks) as raised:
        wait(Client("ImagePullBackOff"), 0.0)
    said = str(raised.value)
    assert "'web: 0 of 1 available, 1 updated'" in said
    assert f"pod web-1: Pending, app: ImagePullBackOff: it says (image {IMAGE})" in said
    assert f"Nodes lack {IMAGE}. `meshmark images build" in said


def test_a_pod_that_can_never_start_is_told_at_once() -> None:
    with pytest.raises(PodFailed, match=f"pod shop/web-1: .*ErrImageNeverPull.*{IMAGE}"):
        wait(Client("ErrImageNeverPull"), 60.0)


def test_a_pod_of_an_earlier_generation_may_be_replaced() -> None:
    with pytest.raises(EnvironmentLacks, match=r"(?s)not within.*ErrImageNeverPull"):
        wait(Client("ErrImageNeverPull", replicas=2), 0.0)
