"""The class of a pod by its containers' resources."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.embedded.quality import quality_of

BOTH = {"cpu": "1", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"limits": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
        ([{"limits": BOTH}], "Guaranteed"),
        ([{"limits": BOTH, "requests": BOTH}], "Guaranteed"),
        ([{"limits": BOTH, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "ephemeral-storage": "1Gi"}}], "Burstable"),
        ([{"requests": BOTH}], "Burstable"),
        ([{"limits": BOTH}, {}], "Burstable"),
    ],
)
def test_a_pod_is_as_good_as_all_of_its_containers(
    resources: list[dict[str, Any]], expected: str
) -> None:
    containers = [{"name": "app", "resources": each} for each in resources]

    assert quality_of({"containers": containers}) == expected
    assert quality_of({"containers": containers[:1], "initContainers": containers[1:]}) == expected
