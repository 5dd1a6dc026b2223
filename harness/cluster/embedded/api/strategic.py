"""
Strategic merge patch: a merge patch that knows which lists are maps.

Semantics: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/
strategic-merge-patch.md, with the directives `$patch`, `$retainKeys`, `$setElementOrder/x` and
`$deleteFromPrimitiveList/x`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api.lists import SET
from harness.cluster.embedded.status import BadRequest

if TYPE_CHECKING:
    from harness.cluster.embedded.api.lists import ListKinds

__all__ = ["patched"]

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_DIRECTIVES = ("merge", "replace", "delete")


def patched(kinds: ListKinds, target: Any, patch: Any) -> Any:
    """
    The target after the patch; neither is changed.

    Raises:
        BadRequest: a directive is unknown, or an item of a keyed list lacks its key.

    """
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch is an object")
    return _object(kinds, target, patch, ())


def _object(kinds: ListKinds, target: Any, patch: dict[str, Any], path: tuple[str, ...]) -> Any:
    directive = _directive(patch)
    if directive == "delete":
        return None
    old = target if isinstance(target, dict) and directive != "replace" else {}
    result = copy.deepcopy(old)
    if "$retainKeys" in patch:
        result = {name: result[name] for name in result if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            field = name.removeprefix(_DELETE)
            result[field] = [item for item in result.get(field) or () if item not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = _value(kinds, result.get(name), value, (*path, name))
    for name, value in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            if isinstance(result.get(field), list):
                result[field] = _ordered(kinds, result[field], value, (*path, field))
    return result


def _value(kinds: ListKinds, target: Any, value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return _object(kinds, target, value, path)
    if not isinstance(value, list):
        return value
    keys = kinds.keys(path)
    old = target if isinstance(target, list) else []
    if keys is None:
        return copy.deepcopy(value)
    if keys == SET:
        return [*old, *(item for item in value if item not in old)]
    return _items(kinds, old, value, keys[0], path)


def _items(
    kinds: ListKinds, old: list[Any], patch: list[Any], key: str, path: tuple[str, ...]
) -> list[Any]:
    if any(isinstance(item, dict) and _directive(item) == "replace" for item in patch):
        return [
            copy.deepcopy(item)
            for item in patch
            if not (isinstance(item, dict) and "$patch" in item)
        ]
    items = list(old)
    for change in patch:
        if not isinstance(change, dict) or change.get(key) is None:
            raise BadRequest(
                f"map: {change} does not contain declared merge key: {key} ({'.'.join(path)})"
            )
        found = [index for index, item in enumerate(items) if item.get(key) == change[key]]
        if _directive(change) == "delete":
            items = [item for item in items if item.get(key) != change[key]]
        elif found:
            items[found[0]] = _object(kinds, items[found[0]], change, path)
        else:
            items.append(_object(kinds, {}, change, path))
    return items


def _ordered(
    kinds: ListKinds, items: list[Any], wanted: list[Any], path: tuple[str, ...]
) -> list[Any]:
    """Those of the wanted order first, in that order; others keep theirs behind them."""
    keys = kinds.keys(path)
    if keys is None:
        return items

    def identity(item: Any) -> Any:
        return item if keys == SET or not isinstance(item, dict) else item.get(keys[0])

    order = [identity(item) for item in wanted]
    ranked = {
        index: order.index(identity(item)) if identity(item) in order else len(order)
        for index, item in enumerate(items)
    }
    return [items[index] for index in sorted(ranked, key=lambda index: (ranked[index], index))]


def _directive(patch: dict[str, Any]) -> str:
    directive = patch.get("$patch", "merge")
    if directive not in _DIRECTIVES:
        raise BadRequest(f"unknown patch directive {directive!r}: one of {', '.join(_DIRECTIVES)}")
    return str(directive)
