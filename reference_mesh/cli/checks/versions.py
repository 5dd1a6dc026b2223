"""Whether client, control plane and its proxies are of one version, and the proxies healthy."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.checks.model import Category, Check, Failed, Warned, pod_problem, proxy_of
from reference_mesh.cli.version import server_version
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories", "same_versions"]

_UPGRADE = "bring them together: refmesh upgrade | kubectl apply -f -"


def categories(facts: Facts) -> Iterator[Category]:
    """`control-plane-version` and `linkerd-control-plane-proxy`."""
    yield Category(
        "control-plane-version",
        (
            Check(
                description="can retrieve the control plane version",
                run=functools.partial(_server, facts),
                hint=_UPGRADE,
            ),
            Check(
                description="control plane and cli versions match",
                run=functools.partial(_server_matches, facts),
                hint=_UPGRADE,
            ),
        ),
    )
    yield Category(
        "linkerd-control-plane-proxy",
        (
            Check(
                description="control plane proxies are healthy",
                run=functools.partial(_healthy, facts),
                hint=f"see: kubectl -n {facts.namespace} logs -c linkerd-proxy",
                patient=True,
            ),
            Check(
                description="control plane proxies and cli versions match",
                run=lambda: same_versions(facts.control_plane_pods()),
                hint=_UPGRADE,
            ),
        ),
    )


def same_versions(pods: Iterable[dict[str, Any]]) -> None:
    """
    Accept pods whose sidecar is of this program's version.

    Raises:
        Warned: some are not; names them.

    """
    other = [
        f"{pod['metadata']['name']} ({version})"
        for pod in pods
        if (version := _version(pod)) != names.VERSION
    ]
    if other:
        raise Warned(f"proxies of another version than {names.VERSION}: {', '.join(other)}")


def _server(facts: Facts) -> str:
    version = server_version(facts.kubernetes, facts.namespace)
    if version is None:
        raise Failed(f"no deployment linkerd-destination in namespace {facts.namespace}")
    return version


def _server_matches(facts: Facts) -> None:
    version = _server(facts)
    if version != names.VERSION:
        raise Warned(f"control plane is {version}, this program is {names.VERSION}")


def _healthy(facts: Facts) -> None:
    pods = facts.control_plane_pods()
    problems = [p for pod in pods if (p := pod_problem(pod, names.PROXY_CONTAINER))]
    if problems or not pods:
        raise Failed("; ".join(problems) or "there are no pods")


def _version(pod: dict[str, Any]) -> str:
    container = proxy_of(pod)
    return str(container["image"]).rpartition(":")[2] if container else "none"
