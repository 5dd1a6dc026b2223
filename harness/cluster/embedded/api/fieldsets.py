"""
Sets of fields in the form of FieldsV1, and what one does with them.

`f:name` is a field, `k:{...}` the item of a list with that key, `v:...` a member of a set, `.` the
thing itself. Format: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and
sigs.k8s.io/structured-merge-diff. A leaf is an empty object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster.embedded.api.lists import SET, item_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.embedded.api.lists import ListKinds

__all__ = [
    "FieldSet",
    "changed",
    "common",
    "fields_of",
    "leaves",
    "minus",
    "parts",
    "plus",
    "removed",
    "step",
    "with_presence",
]

FieldSet = dict[str, Any]


def parts(kinds: ListKinds, value: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
    """The children of a value by their names in a field set; None for a leaf."""
    if isinstance(value, dict):
        return {f"f:{name}": below for name, below in value.items()} or None
    if isinstance(value, list):
        keys = kinds.keys(path)
        if keys is None:
            return None
        named = {}
        for item in value:
            key = item_key(keys, item)
            if key is None:
                return None  # No map after all: own the list as one.
            named[_item_name(keys, key)] = item
        return named or None
    return None


def step(path: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The path of a child, for `ListKinds`: items are at the path of their list."""
    return (*path, name[2:]) if name.startswith("f:") else path


def fields_of(kinds: ListKinds, value: Any, path: tuple[str, ...] = ()) -> FieldSet:
    """All fields that a value sets, down to its leaves."""
    children = parts(kinds, value, path)
    if children is None:
        return {}
    fields = {name: fields_of(kinds, below, step(path, name)) for name, below in children.items()}
    for name, below in fields.items():
        if name.startswith("k:"):
            below["."] = {}
    return fields


def changed(kinds: ListKinds, old: Any, new: Any, path: tuple[str, ...] = ()) -> FieldSet | None:
    """The fields that `new` has otherwise than `old`; None when there are none."""
    if old == new:
        return None
    after = parts(kinds, new, path)
    before = (parts(kinds, old, path) or {}) if type(old) is type(new) else {}
    if after is None:
        return {}
    fields = {}
    for name, below in after.items():
        if name not in before:
            fields[name] = fields_of(kinds, below, step(path, name))
            if name.startswith("k:"):
                fields[name]["."] = {}
            continue
        difference = changed(kinds, before[name], below, step(path, name))
        if difference is not None:
            fields[name] = difference
    return fields or None


def removed(kinds: ListKinds, old: Any, new: Any, path: tuple[str, ...] = ()) -> FieldSet:
    """The fields that `old` has and `new` has not."""
    before = parts(kinds, old, path) or {}
    after = parts(kinds, new, path) or {}
    fields = {}
    for name, below in before.items():
        if name not in after:
            fields[name] = {**fields_of(kinds, below, step(path, name)), ".": {}}
        elif difference := removed(kinds, below, after[name], step(path, name)):
            fields[name] = difference
    return fields


def plus(left: FieldSet, right: FieldSet) -> FieldSet:
    """Fields of either."""
    result = dict(left)
    for name, below in right.items():
        result[name] = plus(result[name], below) if name in result else below
    return result


def with_presence(fields: FieldSet) -> FieldSet:
    """The same fields, and of each list item in which one is owned, the item itself."""
    result = {}
    for name, below in fields.items():
        inner = with_presence(below)
        result[name] = {".": {}, **inner} if name.startswith("k:") else inner
    return result


def minus(left: FieldSet, right: FieldSet) -> FieldSet:
    """Fields of the first that are not of the second."""
    result = {}
    for name, below in left.items():
        if name not in right:
            result[name] = below
        elif below and (rest := minus(below, right[name])):
            result[name] = rest
    return result


def common(left: FieldSet, right: FieldSet) -> FieldSet:
    """Fields of both."""
    result = {}
    for name, below in left.items():
        if name in right:
            shared = common(below, right[name])
            if shared or not below or not right[name]:
                result[name] = shared
    return result


def leaves(fields: FieldSet, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all leaves, the `.` of an item left out."""
    for name, below in fields.items():
        if name == ".":
            continue
        if any(child != "." for child in below):
            yield from leaves(below, (*path, name))
        else:
            yield (*path, name)


def _item_name(keys: tuple[str, ...], key: tuple[Any, ...]) -> str:
    if keys == SET:
        return "v:" + msgspec.json.encode(key[0]).decode()
    return "k:" + msgspec.json.encode(dict(sorted(zip(keys, key, strict=True)))).decode()
