"""Disruption budgets: which pods may be evicted now."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.cluster.embedded.selectors import label_selector_matches
from harness.cluster.embedded.status import Cause, InternalError, NotFound, TooManyRequests

if TYPE_CHECKING:
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["require_budget"]

_PODS = ("", "pods")


def require_budget(store: Store, pod: Obj) -> None:
    """
    Check that a pod may be evicted. One that does not run yet, or no longer, always may.

    Raises:
        TooManyRequests: its budget has no room; the cause says how many are healthy.
        InternalError: it has more than one budget.

    """
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata or pod.get("status", {}).get("phase") != "Running":
        return
    labels = metadata.get("labels") or {}
    budgets = [
        budget
        for budget in store.scan(("policy", "poddisruptionbudgets"))
        if budget["metadata"]["namespace"] == metadata["namespace"]
        and label_selector_matches(budget["spec"].get("selector"), labels)
    ]
    if len(budgets) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support."
        )
    for budget in budgets:
        _require_room(store, budget)


def _require_room(store: Store, budget: Obj) -> None:
    metadata, spec = budget["metadata"], budget["spec"]
    pods = [
        pod
        for pod in store.scan(_PODS)
        if pod["metadata"]["namespace"] == metadata["namespace"]
        and label_selector_matches(spec.get("selector"), pod["metadata"].get("labels") or {})
    ]
    healthy = sum(_healthy(pod) for pod in pods)
    wanted = _wanted(spec, _expected(store, pods))
    if healthy <= wanted:
        told = (
            f"The disruption budget {metadata['name']} needs {wanted} healthy pods and has "
            f"{healthy} currently"
        )
        raise TooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            causes=[Cause("", told, "DisruptionBudget")],
        )


def _wanted(spec: Obj, expected: int) -> int:
    """How many pods must stay healthy, of so many that there should be."""
    if spec.get("minAvailable") is not None:
        return _share(spec["minAvailable"], expected)
    return max(0, expected - _share(spec.get("maxUnavailable", 0), expected))


def _share(value: int | str, of: int) -> int:
    if isinstance(value, str):
        return math.ceil(int(value.rstrip("%")) * of / 100)
    return value


def _expected(store: Store, pods: list[Obj]) -> int:
    """How many pods there should be: what their controllers want, and each that has none."""
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = _controller(pod)
        if owner is None:
            wanted[pod["metadata"]["uid"]] = 1
            continue
        kind = ("apps", f"{owner['kind'].lower()}s")
        try:
            found = store.peek(kind, pod["metadata"]["namespace"], owner["name"])
        except NotFound:
            continue
        wanted[owner["uid"]] = found["spec"].get("replicas", 1)
    return sum(wanted.values())


def _controller(obj: Obj) -> Obj | None:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _healthy(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
