"""
Who manages which field: `metadata.managedFields`, and server-side apply.

Semantics: https://kubernetes.io/docs/reference/using-api/server-side-apply/. A writer that applies
owns what it last applied: what it no longer names goes, unless another owns it too; what another
owns with another value is a conflict. Any other write takes over the fields that it changes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api import fieldsets
from harness.cluster.embedded.api.lists import SET, item_key
from harness.cluster.embedded.status import ApiError, BadRequest, Cause
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from harness.cluster.embedded.api.fieldsets import FieldSet
    from harness.cluster.embedded.api.lists import ListKinds
    from harness.cluster.embedded.store import Obj

__all__ = ["ApplyConflict", "applied", "track"]

_SERVER_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Nobody owns these."""


class ApplyConflict(ApiError):
    """An applied field belongs to another manager and has another value there."""

    code = 409
    reason = "Conflict"

    def __init__(self, conflicts: list[tuple[str, str]]) -> None:
        """conflicts: pairs of manager, with its version, and path."""
        many = "conflict" if len(conflicts) == 1 else "conflicts"
        first = conflicts[0][0]
        paths = [path for _, path in conflicts]
        told = (
            f"conflict with {first}: {paths[0]}"
            if len(conflicts) == 1
            else "conflicts with " + "; ".join(f"{manager}: {path}" for manager, path in conflicts)
        )
        super().__init__(
            f"Apply failed with {len(conflicts)} {many}: {told}",
            causes=[
                Cause(path, f"conflict with {manager}", "FieldManagerConflict")
                for manager, path in conflicts
            ],
        )


def applied(
    kinds: ListKinds, old: Obj, patch: Obj, *, manager: str, force: bool, subresource: str = ""
) -> Obj:
    """
    What an applied configuration makes of an object; `{}` stands for one that is not there.

    Raises:
        BadRequest: the configuration has managedFields.
        ApplyConflict: it sets fields of others to other values, without force.

    """
    if (patch.get("metadata") or {}).get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    patch = _without_nulls(patch)
    entries = copy.deepcopy((old.get("metadata") or {}).get("managedFields") or [])
    wanted = fieldsets.fields_of(kinds, _ownable(patch))
    mine = _entry(entries, manager, "Apply", subresource)
    before = dict(mine.get("fieldsV1") or {})
    others = [entry for entry in entries if entry is not mine]
    _settle(kinds, old, patch, wanted, others, force=force)
    gone = fieldsets.minus(before, wanted)
    for other in others:
        gone = fieldsets.minus(gone, fieldsets.with_presence(other.get("fieldsV1") or {}))
    result: Obj = _merged(kinds, old, patch, ())
    if gone:
        result = _pruned(kinds, result, gone, ())
    if before != wanted or mine not in entries:
        mine.update(apiVersion=patch.get("apiVersion", ""), time=timestamp(), fieldsV1=wanted)
        entries = [*others, mine]
    result["metadata"]["managedFields"] = [entry for entry in entries if entry.get("fieldsV1")]
    return result


def track(kinds: ListKinds, old: Obj, new: Obj, manager: str, subresource: str = "") -> None:
    """Give a writer the fields that it changed from `old` to `new`, in `new` itself."""
    metadata = new["metadata"]
    stored = (old.get("metadata") or {}).get("managedFields") or []
    given = metadata.get("managedFields")
    entries = copy.deepcopy(stored if given is None else [one for one in given if one])
    before, after = _ownable(old), _ownable(new)
    taken = fieldsets.changed(kinds, before, after) or {}
    lost = fieldsets.removed(kinds, before, after)
    if taken or lost:
        mine = _entry(entries, manager, "Update", subresource)
        for entry in entries:
            left = fieldsets.minus(entry.get("fieldsV1") or {}, lost)
            entry["fieldsV1"] = left if entry is mine else fieldsets.minus(left, taken)
        if taken:
            fields = fieldsets.plus(mine.get("fieldsV1") or {}, taken)
            mine.update(apiVersion=new.get("apiVersion", ""), time=timestamp(), fieldsV1=fields)
            entries = [*(entry for entry in entries if entry is not mine), mine]
    metadata["managedFields"] = [entry for entry in entries if entry.get("fieldsV1")]
    if not metadata["managedFields"]:
        del metadata["managedFields"]


def _entry(entries: list[Obj], manager: str, operation: str, subresource: str) -> Obj:
    for entry in entries:
        same = entry.get("manager") == manager and entry.get("operation") == operation
        if same and entry.get("subresource", "") == subresource:
            return entry
    entry = {"manager": manager, "operation": operation, "fieldsType": "FieldsV1"}
    if subresource:
        entry["subresource"] = subresource
    return entry


def _ownable(obj: Obj) -> Obj:
    kept = {name: value for name, value in obj.items() if name not in {"apiVersion", "kind"}}
    metadata = obj.get("metadata") or {}
    owned = {name: value for name, value in metadata.items() if name not in _SERVER_METADATA}
    kept.pop("metadata", None)
    return {**kept, "metadata": owned} if owned else kept


def _settle(
    kinds: ListKinds, old: Obj, patch: Obj, wanted: FieldSet, others: list[Obj], *, force: bool
) -> None:
    """Find the conflicts with other managers; with force, take their fields away."""
    conflicts = []
    for other in others:
        shared = fieldsets.common(wanted, other.get("fieldsV1") or {})
        for path in fieldsets.leaves(shared):
            if _at(kinds, old, path) == _at(kinds, patch, path):
                continue
            if force:
                nested: FieldSet = {}
                for name in reversed(path):
                    nested = {name: nested}
                other["fieldsV1"] = fieldsets.minus(other["fieldsV1"], nested)
            else:
                manager = f'"{other.get("manager")}"'
                if other.get("subresource"):
                    manager += f' with subresource "{other["subresource"]}"'
                if other.get("operation") == "Update":
                    manager += f" using {other.get('apiVersion')}"
                conflicts.append((manager, _shown(path)))
    if conflicts:
        raise ApplyConflict(conflicts)


def _at(kinds: ListKinds, value: Any, path: tuple[str, ...]) -> Any:
    at: tuple[str, ...] = ()
    for name in path:
        value = (fieldsets.parts(kinds, value, at) or {}).get(name)
        at = fieldsets.step(at, name)
    return value


def _shown(path: tuple[str, ...]) -> str:
    """A path as Kubernetes prints it: .spec.containers[name="a"].image."""
    shown = ""
    for name in path:
        if name.startswith("f:"):
            shown += f".{name[2:]}"
        elif name.startswith("k:"):
            inner = name[3:-1].replace('":', "=").replace('"', "", 1).replace(',"', ",")
            shown += f"[{inner}]"
        else:
            shown += f"[={name[2:]}]"
    return shown


def _merged(kinds: ListKinds, old: Any, new: Any, path: tuple[str, ...]) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        result = dict(old)
        for name, value in new.items():
            result[name] = _merged(kinds, old.get(name), value, (*path, name))
        return result
    keys = kinds.keys(path) if isinstance(old, list) and isinstance(new, list) else None
    if keys is None or any(item_key(keys, item) is None for item in (*old, *new)):
        return copy.deepcopy(new)
    items = {item_key(keys, item): item for item in old}
    for item in new:
        key = item_key(keys, item)
        items[key] = item if keys == SET else _merged(kinds, items.get(key), item, path)
    return list(items.values())


def _pruned(kinds: ListKinds, value: Any, gone: FieldSet, path: tuple[str, ...]) -> Any:
    """The value without the fields in `gone`; what is empty after that goes too."""
    children = fieldsets.parts(kinds, value, path)
    if children is None:
        return value
    kept = {}
    for name, below in children.items():
        if name not in gone:
            kept[name] = below
        elif gone[name] and "." not in gone[name]:
            rest = _pruned(kinds, below, gone[name], fieldsets.step(path, name))
            if rest not in ({}, []):
                kept[name] = rest
    if isinstance(value, dict):
        return {name[2:]: below for name, below in kept.items()}
    return list(kept.values())


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(below) for name, below in value.items() if below is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
