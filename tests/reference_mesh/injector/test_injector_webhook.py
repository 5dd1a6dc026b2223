from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference_mesh.control_plane.injector.server import Webhook
from reference_mesh.control_plane.webhook.admission import Review, Verdict
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests.values import Values


def webhook(namespace_annotations: dict[str, str]) -> Webhook:
    async def namespace_of(name: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "annotations": namespace_annotations}}

    return Webhook(
        namespace_of=namespace_of,
        values=Values,
        trust_anchors=lambda: "PEM",
        control_plane_ns="linkerd",
    )


def decide(
    hook: Webhook, document: dict[str, Any], kind: str = "Pod", operation: str = "CREATE"
) -> Verdict:
    review = Review("admission.k8s.io/v1", "u", kind, "", "default", operation, document)
    return asyncio.run(hook.decide(review))


def pod(annotations: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "a", "annotations": annotations}, "spec": {"containers": []}}


def test_pods_are_counted_by_outcome() -> None:
    hook = webhook({"linkerd.io/inject": "enabled"})
    assert decide(hook, pod({})).patch
    assert not decide(hook, pod({"linkerd.io/inject": "disabled"})).patch
    with pytest.raises(InvalidInput):
        decide(hook, pod({"config.linkerd.io/proxy-uid": "x"}))
    metrics = hook.metrics()
    outcomes = [line for line in metrics.splitlines() if line.startswith("proxy_inject")]
    assert any('skip="false",skip_reason=""} 1' in line for line in outcomes)
    assert any('skip_reason="injection_disable_annotation_present"} 1' in o for o in outcomes)
    assert any('skip_reason="invalid_annotation"} 1' in line for line in outcomes)


def test_only_creation_is_touched() -> None:
    hook = webhook({"linkerd.io/inject": "enabled"})
    assert decide(hook, pod({}), operation="UPDATE") == Verdict()
    assert decide(hook, pod({}), kind="ConfigMap") == Verdict()


def test_service_gets_the_opaque_ports_of_its_namespace() -> None:
    hook = webhook({"config.linkerd.io/opaque-ports": "9000"})
    verdict = decide(hook, {"metadata": {"name": "s"}, "spec": {}}, kind="Service")
    assert verdict.patch[-1]["value"] == "9000"
