"""
`refmesh check` against an API on which one thing is wrong.

A check that no cause makes fail does not pass `test_every_check_has_been_seen_to_fail`, nor one of
its messages that no cause makes it say `test_every_message_has_been_seen`.
"""

from __future__ import annotations

import ast
import json
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reference_mesh.cli import checks
from reference_mesh.cli.checks.model import Facts
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where
from reference_mesh.errors import RefmeshError
from reference_mesh.manifests import names
from tests.reference_mesh.cli.breaking import no_kubeconfig, server_gone, service
from tests.reference_mesh.cli.causes.every import BEFORE, CAUSES
from tests.reference_mesh.cli.causes.model import HA, Cause, assert_told, found

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from reference_mesh.cli.kubernetes import Kubernetes


def install_ha(api: Any, refmesh: Callable[..., Result]) -> None:
    api.apply(refmesh("upgrade", "--ha").stdout)
    for document in api.objects.values():
        if document["kind"] == "Deployment":
            document["status"] = {"readyReplicas": 3}


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.description)
def test_failure_is_told(refmesh: Callable[..., Result], installed: Any, cause: Cause) -> None:
    options = cause.options
    if options == HA:
        install_ha(installed, refmesh)
        options = ()
    cause.act(installed)
    assert_told(refmesh("check", "--wait", "0s", "-o", "json", *options), cause)


@pytest.mark.parametrize("cause", BEFORE, ids=lambda cause: cause.description)
def test_failure_is_told_before(refmesh: Callable[..., Result], api: Any, cause: Cause) -> None:
    cause.act(api)
    assert_told(refmesh("check", "--pre", "-o", "json"), cause)


@pytest.mark.parametrize(
    ("port", "pod_opaque", "differ"),
    [
        ({"port": 80, "targetPort": 8080}, "8080", False),
        ({"port": 80, "targetPort": "http"}, "8000-8100", False),
        ({"port": 80, "targetPort": 8080}, "80", True),
        ({"port": 80, "targetPort": "http"}, "", True),
        ({"port": 80, "targetPort": "unknown"}, "", False),
        (None, "", False),
    ],
)
def test_opaque_ports_are_of_the_service_and_of_the_pod(
    refmesh: Callable[..., Result],
    installed: Any,
    port: dict[str, Any] | None,
    pod_opaque: str,
    differ: bool,
) -> None:
    """A headless service need not have ports at all."""
    pod = installed.add_meshed()
    container = {"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}
    pod["spec"]["containers"] = [container]
    pod["metadata"]["annotations"][names.OPAQUE_PORTS] = pod_opaque
    made = installed.add(service(annotations={names.OPAQUE_PORTS: "80"}))
    made["spec"]["ports"] = [port] if port else None
    result = refmesh("check", "--proxy", "--wait", "0s", "-o", "json")
    check = found(result, "opaque ports are properly annotated")
    assert check["result"] == ("warning" if differ else "success")


@pytest.mark.parametrize(
    ("left_s", "expected"), [(3600.0, "success"), (-60.0, "error")], ids=["valid", "over"]
)
def test_certificates_of_earlier_proxies_are_late_only_when_over(
    refmesh: Callable[..., Result], installed: Any, left_s: float, expected: str
) -> None:
    """Their metrics have another name, and do not tell since when a certificate is theirs."""
    installed.add_meshed()
    ends = f"identity_cert_expiration_timestamp_seconds {time.time() + left_s:.0f}\n"
    installed.pages["/api/v1/namespaces/shop/pods/web-0:4191/proxy/metrics"] = (200, ends)
    result = refmesh("check", "--proxy", "--wait", "0s", "-o", "json")
    check = found(result, "data plane proxies renew their certificates in time")
    assert check["result"] == expected


def test_pod_on_its_way_out_is_not_looked_at(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    """After a rollout such a pod is of the version before, and stops being ready."""
    for component in ({names.COMPONENT: "destination"}, {}):
        pod = installed.add_meshed()
        pod["metadata"]["name"] = f"old-{len(component)}"
        pod["metadata"]["labels"] |= component
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        pod["spec"]["containers"] = [{"name": names.PROXY_CONTAINER, "image": "proxy:0.0.1"}]
        pod["status"] = {"phase": "Running"}
        installed.add(pod)
    result = refmesh("check", "--proxy", "--wait", "0s", "-o", "json")
    assert "old-" not in result.stdout


def test_every_check_has_been_seen_to_fail(refmesh: Callable[..., Result], installed: Any) -> None:
    install_ha(installed, refmesh)
    with connected(Where(kubeconfig=installed.kubeconfig)) as kubernetes:
        facts = Facts(connect=lambda: kubernetes, namespace="linkerd")
        known = {
            check.description
            for pre in (True, False)
            for category in checks.categories(facts, pre=pre, proxy=True)
            for check in category.checks
        }
    assert known == {cause.description for cause in (*CAUSES, *BEFORE)}


def test_cause_that_no_cluster_has_says_why() -> None:
    """Any other is caused on one by `test_live_causes`."""
    reasons = [cause.live for cause in (*CAUSES, *BEFORE) if isinstance(cause.live, str)]
    assert all(len(reason.split()) > 3 for reason in reasons), reasons


def test_every_message_has_been_seen(refmesh: Callable[..., Result], installed: Any) -> None:
    """Each place of the checks' sources that says what is wrong is where some cause leads to."""
    clean = pickle.dumps(vars(installed))
    reached = set()
    with connected(Where(kubeconfig=installed.kubeconfig)) as kubernetes:
        for cause in (*CAUSES, *BEFORE):
            if cause.act in {no_kubeconfig, server_gone}:
                continue  # of the connection, which is one for all here
            vars(installed).update(pickle.loads(clean))
            if cause in BEFORE:
                installed.objects = {}
            if cause.options == HA:
                install_ha(installed, refmesh)
            cause.act(installed)
            reached.add(raised(kubernetes, cause))
    said = {
        (str(module), node.lineno): ast.unparse(node)
        for module in Path(checks.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and ast.unparse(node.exc.func) in {"Failed", "Warned"}
    }
    assert {place: text for place, text in said.items() if place not in reached} == {}


def raised(kubernetes: Kubernetes, cause: Cause) -> tuple[str, int]:
    """Where the check of this cause says what is wrong: file and line."""
    facts = Facts(
        connect=lambda: kubernetes,
        namespace="linkerd",
        data_plane_ns=cause.options[-1] if "-n" in cause.options else None,
    )
    (check,) = [
        check
        for category in checks.categories(facts, pre=cause in BEFORE, proxy=True)
        for check in category.checks
        if check.description == cause.description
    ]
    with pytest.raises(RefmeshError) as caught:
        check.run()
    last = caught.traceback[-1]
    return str(last.path), last.lineno + 1


def test_ha_installation_is_good(refmesh: Callable[..., Result], installed: Any) -> None:
    install_ha(installed, refmesh)
    result = refmesh("check", "--proxy", "--wait", "0s", "-o", "json")
    report = json.loads(result.stdout)
    bad = [c for g in report["categories"] for c in g["checks"] if c["result"] != "success"]
    assert [check["description"] for check in bad] == ["data plane proxies are ready"]
    assert "linkerd-ha-checks" in [group["categoryName"] for group in report["categories"]]
