from __future__ import annotations

from typing import Any

import pytest

from reference_mesh.control_plane.validator import check
from reference_mesh.errors import InvalidInput


def validate(spec: dict[str, Any], name: str = "web.shop.svc.cluster.local") -> None:
    check(
        "linkerd.io",
        "ServiceProfile",
        {"metadata": {"namespace": "shop", "name": name}, "spec": spec},
    )


def route(**members: Any) -> dict[str, Any]:
    return {"routes": [{"name": "r", **members}]}


def nested(depth: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"method": "GET"}
    for _ in range(depth):
        condition = {"not": condition}
    return condition


@pytest.mark.parametrize(
    "spec",
    [
        {},
        route(condition={"method": "GET", "path": "/reviews/[^/]+"}, timeout="1s"),
        route(condition={"pathRegex": "/a", "any": [{"method": "GET"}, nested(3)]}),
        route(
            responseClasses=[
                {"condition": {"status": {"min": 200, "max": 299}}, "isSuccess": True},
                {"condition": {"status": {"min": 500}}, "isFailure": True},
            ]
        ),
        route(isRetryable=True, retryConditions=["status_5xx", "reset", "status_503"]),
        route(condition={"headers": {"x-user-type": "internal"}}, destination={"service": "v2"}),
        route(destination={"service": "v1"}),
        {
            "outlierDetection": {
                "consecutiveErrors": 5,
                "interval": "10s",
                "baseEjectionTime": "30s",
            }
        },
        {"retryBudget": {"retryRatio": 0.2, "minRetriesPerSecond": 10, "ttl": "10s"}},
        {"dstOverrides": [{"authority": "v2.shop.svc.cluster.local:80", "weight": "500m"}]},
    ],
)
def test_sound_profile_is_accepted(spec: dict[str, Any]) -> None:
    validate(spec)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"routes": [{"condition": {"method": "GET"}}]}, "spec.routes[0].name"),
        (route(condition={}), "spec.routes[0].condition"),
        (route(condition={"pathRegex": "["}), "spec.routes[0].condition.pathRegex"),
        (route(condition={"path": "(?=a)"}), "spec.routes[0].condition.path"),
        (route(condition={"verb": "GET"}), "spec.routes[0].condition.verb"),
        (route(condition={"headers": {"a b": "c"}}), "spec.routes[0].condition.headers"),
        (route(condition={"all": [{}]}), "spec.routes[0].condition.all[0]"),
        (route(condition=nested(30)), "spec.routes[0].condition.not"),
        (route(timeout="1 s"), "spec.routes[0].timeout"),
        (route(timeout=5), "spec.routes[0].timeout"),
        (route(retryConditions=["sometimes"]), "spec.routes[0].retryConditions[0]"),
        (route(responseClasses=[{"isFailure": True}]), "spec.routes[0].responseClasses[0]"),
        (
            route(responseClasses=[{"condition": {"status": {"min": 599, "max": 500}}}]),
            "spec.routes[0].responseClasses[0].condition.status",
        ),
        (route(destination={}), "spec.routes[0].destination.service"),
        ({"outlierDetection": {"interval": "1s"}}, "spec.outlierDetection.consecutiveErrors"),
        ({"retryBudget": {"retryRatio": 0.2, "ttl": "1s"}}, "spec.retryBudget.minRetriesPerSecond"),
        ({"dstOverrides": [{"authority": "a", "weight": "-1"}]}, "spec.dstOverrides[0].weight"),
    ],
)
def test_refusal_names_the_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate(spec)
    assert f": {field}" in str(caught.value)


def test_profile_is_named_after_its_service() -> None:
    with pytest.raises(InvalidInput, match=r"metadata\.name"):
        validate({}, name="web")
