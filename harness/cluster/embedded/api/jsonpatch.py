"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.status import BadRequest, Unprocessable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["applied", "merged"]


def applied(document: Any, patch: Any) -> Any:
    """
    The document after all operations of a JSON Patch; the one given stays as it is.

    Raises:
        BadRequest: it is no list.
        Unprocessable: an operation is malformed, its path leads nowhere, or a test fails. The
            message quotes the operation.

    """
    if not isinstance(patch, list):
        raise BadRequest("a JSON patch is a list of operations")
    document = copy.deepcopy(document)
    for operation in patch:
        try:
            document = _operated(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Unprocessable(
                "the server rejected our request due to an error in our request: the JSON patch "
                f"operation {operation} cannot be applied: {error}"
            ) from error
    return document


def merged(target: Any, patch: Any) -> Any:
    """The target after a JSON Merge Patch: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _operated(document: Any, operation: Any) -> Any:
    kind = operation["op"]
    path = _steps(operation["path"])
    if kind in {"add", "replace"}:
        return _put(document, path, operation["value"], replace=kind == "replace")
    if kind == "remove":
        return _taken(document, path)[0]
    if kind == "test":
        if _at(document, path) != operation["value"]:
            raise ValueError(f"the value at {operation['path']} is {_at(document, path)!r}")
        return document
    source = _steps(operation["from"])
    if kind == "copy":
        return _put(document, path, copy.deepcopy(_at(document, source)))
    if kind == "move":
        document, value = _taken(document, source)
        return _put(document, path, value)
    raise ValueError(f"{kind!r} is not an operation")


def _steps(pointer: Any) -> list[str]:
    if pointer == "":
        return []
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is not a JSON pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def _at(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        document = document[_index(document, step)]
    return document


def _index(container: Any, step: str) -> Any:
    """The key or index that a step means; of a list, only what is there."""
    if not isinstance(container, list):
        if not isinstance(container, dict):
            raise TypeError(f"{step!r} is asked of {container!r}")
        return step
    index = int(step)
    if not 0 <= index < len(container):
        raise IndexError(f"no element {index}")
    return index


def _put(document: Any, path: Sequence[str], value: Any, *, replace: bool = False) -> Any:
    if not path:
        return value
    container, last = _at(document, path[:-1]), path[-1]
    if isinstance(container, list) and not replace:
        index = len(container) if last == "-" else int(last)
        if not 0 <= index <= len(container):
            raise IndexError(f"no place {index}")
        container.insert(index, value)
        return document
    index = _index(container, last)
    if replace and isinstance(container, dict) and index not in container:
        raise KeyError(last)
    container[index] = value
    return document


def _taken(document: Any, path: Sequence[str]) -> tuple[Any, Any]:
    if not path:
        return None, document
    container = _at(document, path[:-1])
    return document, container.pop(_index(container, path[-1]))
