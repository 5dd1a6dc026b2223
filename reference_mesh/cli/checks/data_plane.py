"""Whether the pods in the mesh are well, and marked as they should be."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.checks.model import Category, Check, Failed, Warned, pod_problem
from reference_mesh.cli.checks.versions import same_versions
from reference_mesh.cli.kubernetes import path
from reference_mesh.control_plane.ports import PortSet, parse
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_ON_TEMPLATE = "set it as an annotation of the pod template or the namespace"


def categories(facts: Facts) -> Iterator[Category]:
    """`linkerd-data-plane`."""
    yield Category(
        "linkerd-data-plane",
        (
            Check(
                description="data plane namespace exists",
                run=functools.partial(_namespace_exists, facts),
                hint="name another one with --namespace",
                fatal=True,
            ),
            Check(
                description="data plane proxies are ready",
                run=functools.partial(_proxies_ready, facts),
                patient=True,
                hint="see: kubectl describe pod, and kubectl logs -c linkerd-proxy",
            ),
            Check(
                description="data plane and cli versions match",
                run=lambda: same_versions(facts.meshed_pods()),
                hint="restart the pods to get the current proxy",
            ),
            Check(
                description="data plane pod labels are configured correctly",
                run=functools.partial(_labels, facts, "pods"),
                hint=_ON_TEMPLATE,
            ),
            Check(
                description="data plane service labels are configured correctly",
                run=functools.partial(_labels, facts, "services"),
                hint=_ON_TEMPLATE,
            ),
            Check(
                description="data plane service annotations are configured correctly",
                run=functools.partial(_service_annotations, facts),
                hint="annotate the namespace or the pods instead",
            ),
            Check(
                description="opaque ports are properly annotated",
                run=functools.partial(_opaque_ports, facts),
                hint=f"give service and pods the same {names.OPAQUE_PORTS}",
            ),
        ),
    )


def _namespace_exists(facts: Facts) -> None:
    if facts.data_plane_ns is None:
        return
    if facts.kubernetes.find(path("v1", "namespaces", name=facts.data_plane_ns)) is None:
        raise Failed(f'the "{facts.data_plane_ns}" namespace does not exist')


def _proxies_ready(facts: Facts) -> None:
    pods = facts.meshed_pods()
    if not pods:
        raise Warned("no pods of the data plane found; is `linkerd.io/inject: enabled` set?")
    problems = [p for pod in pods if (p := pod_problem(pod, names.PROXY_CONTAINER))]
    if problems:
        raise Failed("; ".join(problems))


def _labels(facts: Facts, plural: str) -> None:
    """`linkerd.io/inject` and its kin are read from annotations only; a label has no effect."""
    wrong = [
        f"{_shown(item)} has label {key}"
        for item in _outside(facts, plural)
        for key in item["metadata"].get("labels") or {}
        if key == names.INJECT or key.startswith(names.CONFIG)
    ]
    if wrong:
        raise Warned("; ".join(wrong))


def _service_annotations(facts: Facts) -> None:
    wrong = [
        f"{_shown(service)} has annotation {names.INJECT}"
        for service in _outside(facts, "services")
        if names.INJECT in (service["metadata"].get("annotations") or {})
    ]
    if wrong:
        raise Warned("; ".join(wrong))


def _opaque_ports(facts: Facts) -> None:
    """A pod and its service that disagree are spoken to differently by name and by address."""
    wrong = []
    pods = facts.meshed_pods()
    for service in _outside(facts, "services"):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        ours = _opaque(service)
        for pod in pods:
            labels = pod["metadata"].get("labels") or {}
            chosen = selector.items() <= labels.items()
            if not chosen or pod["metadata"]["namespace"] != service["metadata"]["namespace"]:
                continue
            its = _opaque(pod)
            differing = [
                str(port["port"])
                for port in service["spec"].get("ports") or ()
                if (target := _target(port, pod)) and (port["port"] in ours) != (target in its)
            ]
            if differing:
                ports = ", ".join(differing)
                wrong.append(f"{_shown(service)} and pod {_shown(pod)} differ in {ports}")
    if wrong:
        raise Warned("; ".join(wrong))


def _target(port: dict[str, Any], pod: dict[str, Any]) -> int | None:
    """The pod's port behind a service's; None when the pod has none of that name."""
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    spec = pod["spec"]
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        for own in container.get("ports") or ():
            if own.get("name") == wanted:
                return int(own["containerPort"])
    return None


def _outside(facts: Facts, plural: str) -> Iterable[dict[str, Any]]:
    for item in facts.kubernetes.items(path("v1", plural, facts.data_plane_ns)):
        if item["metadata"]["namespace"] != facts.namespace:
            yield item


def _opaque(item: dict[str, Any]) -> PortSet:
    text = (item["metadata"].get("annotations") or {}).get(names.OPAQUE_PORTS, "")
    try:
        return parse(text)
    except InvalidInput as error:
        raise Warned(f"{_shown(item)}: {names.OPAQUE_PORTS}: {error}") from error


def _shown(item: dict[str, Any]) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
