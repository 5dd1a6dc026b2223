"""What keeps pods from being ready, as the reader of an error sees it."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod

from harness.cluster import pod_states
from harness.errors import EnvironmentLacks, NotInTime, PodFailed

IMAGE = "meshmark.dev/workload:0.1.0"
PULL = 'failed to resolve reference "meshmark.dev/workload:0.1.0": no such host'


def pod(phase: str = "Pending", *, name: str = "web", ready: bool = False, **waiting: Any) -> Pod:
    """A pod of one container."""
    status: dict[str, Any] = {"phase": phase}
    if ready:
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    if waiting:
        container = {"name": "app", "image": IMAGE, "imageID": "", "ready": False}
        status["containerStatuses"] = [
            {**container, "restartCount": 0, "state": {"waiting": waiting}}
        ]
    metadata = {"name": name, "namespace": "shop"}
    return Pod.from_dict({"metadata": metadata, "status": status})


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (pod("Running", ready=True), "Ready"),
        (pod(), "Pending, not ready"),
        (pod(reason="CrashLoopBackOff", message="back-off 20s"), "Pending, app: CrashLoopBackOff"),
        (pod(reason="ContainerCreating"), "Pending, app: ContainerCreating"),
        (
            pod(reason="ErrImagePull", message=PULL),
            f"Pending, app: ErrImagePull: {PULL} (image {IMAGE})",
        ),
    ],
)
def test_a_pod_is_ready_or_says_why_not(one: Pod, told: str) -> None:
    assert pod_states.state(one) == told


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_a_pull_may_yet_succeed_and_at_last_tells_image_and_remedy(reason: str) -> None:
    with pytest.raises(EnvironmentLacks) as raised:
        until_ready(pod(reason=reason, message=PULL))
    said = str(raised.value)
    assert f"{reason}: {PULL} (image {IMAGE})" in said
    assert "kubectl -n shop describe pods\nNodes lack meshmark.dev/workload:0.1.0. " in said
    assert "`meshmark images build --out FOLDER`" in said


def test_what_else_keeps_a_pod_is_not_the_clusters_lack() -> None:
    lacking = pod(reason="ErrImagePull", message=PULL)
    crashing = pod(name="web-2", reason="CrashLoopBackOff", message="back-off 20s")
    with pytest.raises(NotInTime, match="`meshmark images build"):
        until_ready(lacking, crashing)
    with pytest.raises(EnvironmentLacks):
        until_ready(lacking, pod("Running", name="web-2", ready=True))


@pytest.mark.parametrize("reason", ["ErrImageNeverPull", "InvalidImageName"])
def test_an_image_that_a_node_will_not_ask_for_ends_the_wait_at_once(reason: str) -> None:
    with pytest.raises(PodFailed) as raised:
        until_ready(pod(reason=reason, message="it says"), timeout_s=60.0)
    said = str(raised.value)
    assert said.startswith(f"pod shop/web: Pending, app: {reason}: it says (image {IMAGE})\n")
    assert "`meshmark images build --out FOLDER`" in said


def test_a_pod_that_ended_ends_the_wait_at_once_with_its_log() -> None:
    with pytest.raises(PodFailed, match=r"pod shop/web: Failed:.*\nout of luck"):
        until_ready(pod("Failed"), timeout_s=60.0)


def test_all_of_them_must_be_ready_and_no_more() -> None:
    up = pod("Running", ready=True)
    until_ready(up)
    with pytest.raises(NotInTime, match=r"describe pods$"):
        until_ready(up, pod("Running", name="web-2", ready=True))


def until_ready(*pods: Pod, timeout_s: float = 0.0) -> None:
    pod_states.until_ready(
        lambda: pods,
        number=1,
        what="1 pod ready",
        timeout_s=timeout_s,
        namespace="shop",
        log=lambda _: "out of luck",
    )
