"""The demo's application: what is deployed, and what a reader is told to do."""

from __future__ import annotations

import json

import pytest

from harness.cli.demo import manifests
from harness.workload import pods


def test_every_part_has_an_account_a_service_and_a_deployment() -> None:
    kinds = [(one["kind"], one["metadata"]["name"]) for one in manifests("shop")]
    for part in ("web", "api", "database"):
        for kind in ("ServiceAccount", "Service", "Deployment"):
            assert (kind, part) in kinds
    assert {one["metadata"]["namespace"] for one in manifests("shop")} == {"shop"}


@pytest.mark.parametrize(("caller", "callee"), [("web", "api"), ("api", "database")])
def test_callers_call_the_service_of_the_next_part(caller: str, callee: str) -> None:
    (deployment,) = [
        one
        for one in manifests("shop")
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", caller)
    ]
    containers = deployment["spec"]["template"]["spec"]["containers"]
    (traffic,) = [one for one in containers if one["name"] == "traffic"]
    assert traffic["args"][0] == "call"
    plan = json.loads(traffic["args"][1])
    assert plan["url"].startswith(f"http://{callee}:{pods.HTTP_PORT}/")
    assert 0 < plan["duration_s"] <= 86_400  # the workload refuses more
