"""
The part of kubectl's JSONPath that printer columns use.

`.a.b`, `['a']`, `[0]`, `[-1]`, `[*]` and `[?(@.type=="Ready")]`; anything else finds nothing.
Reference: https://kubernetes.io/docs/reference/kubectl/jsonpath/.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["found"]

_STEP = re.compile(
    r"""\.?(?:
        (?P<name>[A-Za-z0-9_-]+)
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*['"](?P<quoted>[^'"]+)['"]\s*\]
      | (?P<all>\[\s*\*\s*\]|\*)
      | \[\?\(\s*@\.(?P<key>[A-Za-z0-9_.-]+)\s*==\s*['"]?(?P<value>[^'")]*)['"]?\s*\)\]
    )""",
    re.VERBOSE,
)

_Step = tuple[str, str, str]


def found(obj: Any, path: str) -> list[Any]:
    """All that the path leads to; nothing when it leads nowhere or cannot be parsed."""
    values = [obj]
    for step in _steps(path):
        values = [below for value in values for below in _taken(value, step)]
    return values


@functools.lru_cache(maxsize=256)
def _steps(path: str) -> tuple[_Step, ...]:
    path = path.strip().removeprefix("{").removesuffix("}").removeprefix("$").replace("\\.", "\0")
    steps: list[_Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return (("none", "", ""),)
        kind = match.lastgroup or ""
        if kind == "value":
            steps.append(("filter", match["key"], match["value"]))
        else:
            steps.append((kind, (match[kind] or "").replace("\0", "."), ""))
        at = match.end()
    return tuple(steps)


def _taken(value: Any, step: _Step) -> Iterator[Any]:
    kind, name, wanted = step
    if kind in {"name", "quoted"} and isinstance(value, dict):
        if name in value:
            yield value[name]
    elif kind == "index" and isinstance(value, list):
        if -len(value) <= int(name) < len(value):
            yield value[int(name)]
    elif kind == "all":
        yield from value.values() if isinstance(value, dict) else value
    elif kind == "filter" and isinstance(value, list):
        for item in value:
            if any(_text(below) == wanted for below in found(item, name)):
                yield item


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
