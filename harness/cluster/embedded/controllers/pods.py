"""What controllers ask of pods: ready, available, active, owned."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from harness.cluster.embedded.selectors import label_selector_matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.cluster.embedded.store import Obj

__all__ = [
    "available_in_s",
    "controller_uid",
    "is_active",
    "is_ready",
    "owned_by",
    "owner_reference",
    "parsed_time",
    "selects",
    "without_zeros",
]


def is_active(pod: Obj) -> bool:
    """Neither ended nor about to be."""
    ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    return not ended and "deletionTimestamp" not in pod["metadata"]


def is_ready(pod: Obj) -> bool:
    """Whether its Ready condition is true."""
    return _ready_since(pod) is not None


def available_in_s(pod: Obj, min_ready_s: int, now: dt.datetime) -> float | None:
    """Seconds until it has been ready for `min_ready_s`; 0.0: it has; None: it is not ready."""
    since = _ready_since(pod)
    if since is None:
        return None
    if not min_ready_s:
        return 0.0
    return max(0.0, min_ready_s - (now - parsed_time(since)).total_seconds())


def parsed_time(text: str) -> dt.datetime:
    """A time as the API writes it."""
    return dt.datetime.fromisoformat(text)


def controller_uid(obj: Obj) -> str:
    """Uid of the owner that controls this object; empty when none does."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def owned_by(owner: Obj, objects: Iterable[Obj]) -> list[Obj]:
    """Those that `owner` controls."""
    uid = owner["metadata"]["uid"]
    return [each for each in objects if controller_uid(each) == uid]


def owner_reference(owner: Obj) -> Obj:
    """A reference that makes `owner` the controller."""
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def selects(selector: Obj | None, obj: Obj) -> bool:
    """Whether a label selector object (matchLabels, matchExpressions) takes this object."""
    return label_selector_matches(selector, obj["metadata"].get("labels") or {})


def without_zeros(status: Obj) -> Obj:
    """Counts as Kubernetes tells them: not at all where they are zero."""
    return {name: value for name, value in status.items() if value != 0}


def _ready_since(pod: Obj) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            return str(condition.get("lastTransitionTime") or "1970-01-01T00:00:00Z")
    return None
