"""What a write makes of an object, and whether it may: pure functions, without a store."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster.embedded.status import Cause, Conflict, Invalid

if TYPE_CHECKING:
    from harness.cluster.embedded.resources import Resource

__all__ = [
    "CREATED_HERE",
    "Obj",
    "copied",
    "grace_s",
    "may_go",
    "merged",
    "require_no_new_finalizers",
    "require_unchanged",
    "timestamp",
    "without",
]

Obj = dict[str, Any]
"""A Kubernetes object as JSON."""

CREATED_HERE = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
"""Metadata that only the server writes."""


def copied(obj: Obj) -> Obj:
    """A deep copy of a JSON object."""
    copy: Obj = msgspec.json.decode(msgspec.json.encode(obj))
    return copy


def timestamp(at: dt.datetime | None = None) -> str:
    """A time, now unless given, as Kubernetes writes it: UTC in whole seconds."""
    at = at or dt.datetime.now(dt.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def require_unchanged(resource: Resource, old: Obj, expected: Obj) -> None:
    """Raise Conflict when the uid or version that is expected is not the present one."""
    current = old["metadata"]
    if expected.get("uid") and expected["uid"] != current["uid"]:
        raise Conflict(
            resource,
            current["name"],
            f"the UID in the precondition ({expected['uid']}) does not match the UID in record "
            f"({current['uid']}). The object might have been deleted and then recreated",
        )
    version = expected.get("resourceVersion")
    if version and version != current["resourceVersion"]:
        raise Conflict(resource, current["name"])


def require_no_new_finalizers(resource: Resource, old: Obj, new: Obj) -> None:
    """Raise Invalid when finalizers are added to an object that is being deleted."""
    if "deletionTimestamp" not in old["metadata"]:
        return
    before = set(old["metadata"].get("finalizers") or ())
    added = sorted(set(new["metadata"].get("finalizers") or ()) - before)
    if added:
        message = (
            "Forbidden: no new finalizers can be added if the object is being deleted, found new "
            f"finalizers {added}"
        )
        cause = Cause("metadata.finalizers", message, "FieldValueForbidden")
        raise Invalid(resource, new["metadata"]["name"], [cause])


def merged(resource: Resource, old: Obj, obj: Obj, subresource: str | None) -> Obj:
    """What an update makes of the stored and the given object; shares nothing with either."""
    if subresource == "status":
        new = copied(old)
        new.pop("status", None)
        if "status" in obj:
            new["status"] = copied(obj["status"])
        if "managedFields" in obj["metadata"]:
            new["metadata"]["managedFields"] = copied(obj["metadata"])["managedFields"]
        return new
    new = copied(obj)
    if resource.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copied(old)["status"]
    for name in (*CREATED_HERE, "generation", "resourceVersion"):
        new["metadata"].pop(name, None)
        if name in old["metadata"]:
            new["metadata"][name] = old["metadata"][name]
    for name in ("finalizers", "ownerReferences", "labels", "annotations"):
        if name in new["metadata"] and not new["metadata"][name]:
            del new["metadata"][name]
    return {**new, "apiVersion": old["apiVersion"], "kind": old["kind"]}


def may_go(obj: Obj) -> bool:
    """Whether nothing holds an object back that is being deleted."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if metadata.get("deletionGracePeriodSeconds"):
        return False
    return not (obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers"))


def grace_s(resource: Resource, obj: Obj, asked_s: int | None) -> int:
    """How long an object may linger, in seconds: only a pod that may run somewhere does."""
    if resource.key != ("", "pods"):
        return 0
    spec = obj.get("spec") or {}
    ended = (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    if ended or not spec.get("nodeName"):
        return 0
    if asked_s is None:
        asked_s = spec.get("terminationGracePeriodSeconds", 30)
    return max(0, int(asked_s))


def without(obj: Obj, *names: str) -> Obj:
    """The object without those of its top fields."""
    return {name: value for name, value in obj.items() if name not in names}
