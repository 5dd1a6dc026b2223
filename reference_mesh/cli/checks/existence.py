"""Whether the control plane is there, runs, and covers the cluster's networks."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.checks.model import Category, Check, Failed, pod_problem
from reference_mesh.cli.kubernetes import path
from reference_mesh.control_plane import settings
from reference_mesh.manifests import components

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reference_mesh.cli.checks.model import Facts

__all__ = ["DEPLOYMENTS", "categories"]

DEPLOYMENTS = ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector")

_NOT_COVERED = "set clusterNetworks: refmesh upgrade --set clusterNetworks=… | kubectl apply -f -"


def categories(facts: Facts) -> Iterator[Category]:
    """`linkerd-existence`."""
    coverage = (
        ("all node podCIDRs", _node_networks),
        ("all pods", _pod_addresses),
        ("all services", _service_addresses),
    )
    yield Category(
        "linkerd-existence",
        (
            Check(
                description="control plane Namespace exists",
                run=functools.partial(_namespace_exists, facts),
                hint="install the control plane: refmesh install | kubectl apply -f -; one that is "
                "in another namespace is named with --linkerd-namespace",
                fatal=True,
            ),
            Check(
                description="'linkerd-config' config map exists",
                run=lambda: _exists(facts, "configmaps", "linkerd-config"),
                hint="install the control plane: refmesh install | kubectl apply -f -",
                fatal=True,
            ),
            Check(
                description="control plane replica sets are ready",
                run=functools.partial(_deployments_ready, facts),
                hint=f"see: kubectl -n {facts.namespace} describe deployments",
                patient=True,
            ),
            Check(
                description="no unschedulable pods",
                run=functools.partial(_scheduled, facts),
                hint=f"see: kubectl -n {facts.namespace} describe pods; --ha needs three nodes",
                patient=True,
            ),
            Check(
                description="control plane pods are ready",
                run=functools.partial(_pods_ready, facts),
                hint=f"see: kubectl -n {facts.namespace} describe pods",
                patient=True,
            ),
            Check(
                description="control plane services have endpoints",
                run=functools.partial(_served, facts),
                hint="apply the manifest again: refmesh upgrade | kubectl apply -f -",
                patient=True,
            ),
            *(
                Check(
                    description=f"cluster networks contain {shown}",
                    run=functools.partial(_covered, facts, addresses),
                    hint=_NOT_COVERED,
                )
                for shown, addresses in coverage
            ),
        ),
    )


def _namespace_exists(facts: Facts) -> None:
    if facts.kubernetes.find(path("v1", "namespaces", name=facts.namespace)) is None:
        raise Failed(f'the "{facts.namespace}" namespace does not exist')


def _exists(facts: Facts, plural: str, name: str) -> None:
    facts.control_plane(plural, name)


def _deployments_ready(facts: Facts) -> None:
    for name in DEPLOYMENTS:
        deployment = facts.control_plane("deployments", name, "apps/v1")
        wanted = deployment["spec"].get("replicas", 1)
        ready = (deployment.get("status") or {}).get("readyReplicas", 0)
        if ready < wanted:
            raise Failed(f"{name}: {ready} of {wanted} replicas are ready")


def _scheduled(facts: Facts) -> None:
    for pod in facts.control_plane_pods():
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                raise Failed(f"{pod['metadata']['name']}: {condition.get('message', '')}")


def _pods_ready(facts: Facts) -> None:
    pods = facts.control_plane_pods()
    if not pods:
        raise Failed(f"no pods of the control plane in namespace {facts.namespace}")
    problems = [problem for pod in pods if (problem := pod_problem(pod))]
    if problems:
        raise Failed("; ".join(problems))


def _served(facts: Facts) -> None:
    wrong = []
    for service in components.services(facts.namespace):
        name = service["metadata"]["name"]
        address = path("v1", "services", facts.namespace, name)
        if facts.kubernetes.find(address) is None:
            wrong.append(f"service {name} does not exist")
            continue
        slices = facts.kubernetes.items(
            path("discovery.k8s.io/v1", "endpointslices", facts.namespace),
            labelSelector=f"kubernetes.io/service-name={name}",
        )
        if not any(_is_ready(endpoint) for one in slices for endpoint in one["endpoints"] or ()):
            wrong.append(f"service {name} has no endpoint that is ready")
    if wrong:
        raise Failed("; ".join(wrong))


def _is_ready(endpoint: dict[str, Any]) -> bool:
    """Without the condition it counts as ready, says the API."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _covered(facts: Facts, addresses: Any) -> None:
    values = facts.values()
    networks = settings.from_values(values).cluster_networks
    outside = [
        shown
        for shown, text in addresses(facts)
        if not any(_inside(ipaddress.ip_network(text), network) for network in networks)
    ]
    if outside:
        raise Failed(f"not in clusterNetworks [{values.cluster_networks}]: {', '.join(outside)}")


def _inside(
    inner: ipaddress.IPv4Network | ipaddress.IPv6Network,
    outer: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _node_networks(facts: Facts) -> Iterable[tuple[str, str]]:
    for node in facts.kubernetes.items(path("v1", "nodes")):
        cidr = (node.get("spec") or {}).get("podCIDR")
        if cidr:
            yield f"{node['metadata']['name']} ({cidr})", cidr


def _pod_addresses(facts: Facts) -> Iterable[tuple[str, str]]:
    for pod in facts.kubernetes.items(path("v1", "pods")):
        address = (pod.get("status") or {}).get("podIP")
        if address and not pod["spec"].get("hostNetwork"):
            metadata = pod["metadata"]
            yield f"{metadata['namespace']}/{metadata['name']} ({address})", address


def _service_addresses(facts: Facts) -> Iterable[tuple[str, str]]:
    for service in facts.kubernetes.items(path("v1", "services")):
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            metadata = service["metadata"]
            yield f"{metadata['namespace']}/{metadata['name']} ({address})", address
