"""
JSON patches (RFC 6902) that add to an object, and applying them.

Only what the injector writes: `add` of members and list elements, with the parents that they need.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Patch", "apply"]


class Patch:
    """Operations on one object, made in order; knows which parents exist by then."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._present = {
            f"/{top}/{member}"
            for top in ("metadata", "spec")
            for member, value in (document.get(top) or {}).items()
            if value is not None
        }
        self._tops = {f"/{top}" for top in ("metadata", "spec") if document.get(top) is not None}
        self.operations: list[dict[str, Any]] = []

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """Set annotations."""
        self._members("/metadata/annotations", annotations)

    def label(self, labels: Mapping[str, str]) -> None:
        """Set labels."""
        self._members("/metadata/labels", labels)

    def append(self, member: str, item: Mapping[str, Any]) -> None:
        """Put an item at the end of a list of the spec."""
        self._need(f"/spec/{member}", [])
        self._add(f"/spec/{member}/-", item)

    def prepend(self, member: str, item: Mapping[str, Any]) -> None:
        """Put an item at the start of a list of the spec."""
        self._need(f"/spec/{member}", [])
        self._add(f"/spec/{member}/0", item)

    def _members(self, parent: str, members: Mapping[str, str]) -> None:
        if members:
            self._need(parent, {})
        for name, value in sorted(members.items()):
            self._add(f"{parent}/{name.replace('~', '~0').replace('/', '~1')}", value)

    def _need(self, path: str, empty: Any) -> None:
        top = path.rsplit("/", 1)[0]
        if top not in self._tops:
            self._tops.add(top)
            self._add(top, {})
        if path not in self._present:
            self._present.add(path)
            self._add(path, empty)

    def _add(self, path: str, value: Any) -> None:
        self.operations.append({"op": "add", "path": path, "value": copy.deepcopy(value)})


def apply(document: Mapping[str, Any], operations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Apply `add` operations to a copy of the object, and return that."""
    result: dict[str, Any] = copy.deepcopy(dict(document))
    for operation in operations:
        *parents, last = (
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"][1:].split("/")
        )
        node: Any = result
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        value = copy.deepcopy(operation["value"])
        if isinstance(node, list):
            node.insert(len(node) if last == "-" else int(last), value)
        else:
            node[last] = value
    return result
