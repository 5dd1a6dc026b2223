"""Whether an installation with `--ha` is what it was asked to be."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.checks.existence import DEPLOYMENTS
from reference_mesh.cli.checks.model import Category, Check, Failed, Warned
from reference_mesh.cli.checks.webhooks import HOOKS
from reference_mesh.cli.kubernetes import path
from reference_mesh.errors import RefmeshError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_AGAIN = "apply the manifest again: refmesh upgrade --ha | kubectl apply -f -"


def categories(facts: Facts) -> Iterator[Category]:
    """`linkerd-ha-checks`, where the installation claims it."""
    try:
        if not facts.values().high_availability:
            return
    except RefmeshError:
        return  # told by the checks that read the values
    yield Category(
        "linkerd-ha-checks",
        (
            Check(
                description="multiple replicas of control plane pods",
                run=functools.partial(_replicas, facts),
                hint=f"see: kubectl -n {facts.namespace} get pods -o wide",
            ),
            Check(
                description="control plane PodDisruptionBudgets exist",
                run=functools.partial(_budgets, facts),
                hint=_AGAIN,
            ),
            Check(
                description="webhooks leave kube-system and the control plane alone",
                run=functools.partial(_left_alone, facts),
                hint=_AGAIN,
            ),
        ),
    )


def _replicas(facts: Facts) -> None:
    few = []
    for name in DEPLOYMENTS:
        deployment = facts.control_plane("deployments", name, "apps/v1")
        ready = (deployment.get("status") or {}).get("readyReplicas", 0)
        if ready < 2:
            few.append(f"{name} ({ready} ready)")
    if few:
        raise Warned(f"fewer than two replicas are ready: {', '.join(few)}")


def _budgets(facts: Facts) -> None:
    address = path("policy/v1", "poddisruptionbudgets", facts.namespace)
    present = {item["metadata"]["name"] for item in facts.kubernetes.items(address)}
    missing = [name for name in DEPLOYMENTS if name not in present]
    if missing:
        raise Failed(f"missing poddisruptionbudgets: {', '.join(missing)}")


def _left_alone(facts: Facts) -> None:
    """With failure policy Fail, a webhook that is asked about its own pods never comes back."""
    caught = []
    for namespace in ("kube-system", facts.namespace):
        found = facts.kubernetes.find(path("v1", "namespaces", name=namespace)) or {}
        labels = dict((found.get("metadata") or {}).get("labels") or {})
        # The API server sets it; it is what selectors by name go by.
        labels.setdefault("kubernetes.io/metadata.name", namespace)
        for hook in HOOKS:
            selector: Any = hook.configured(facts).get("namespaceSelector") or {}
            if _selects(selector, labels):
                caught.append(f"{hook.configuration} asks about {namespace}")
    if caught:
        raise Failed("; ".join(caught))


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes takes an object with these labels."""
    exact = (selector.get("matchLabels") or {}).items() <= labels.items()
    return exact and all(
        _holds(expression, labels.get(expression["key"]))
        for expression in selector.get("matchExpressions") or ()
    )


def _holds(expression: Mapping[str, Any], value: str | None) -> bool:
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
