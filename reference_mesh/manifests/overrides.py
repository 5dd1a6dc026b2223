"""
From what a user gave (`--set`, `--values`, what an earlier installation stored) to values.

Only differences from the defaults are stored with an installation, so that `upgrade` brings new
defaults and keeps every choice. An unknown name is refused, with the names that resemble it.
"""

from __future__ import annotations

import copy
import difflib
import re
from typing import TYPE_CHECKING, Any

import msgspec
import msgspec.inspect
import yaml

from reference_mesh.errors import InvalidInput, UsageError
from reference_mesh.manifests.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["combine", "difference", "load", "paths"]

_SEGMENT = re.compile(r"^(?P<name>[^\[\]]+)(\[(?P<index>\d+)\])?$")
_FREE_FORM = {"podAnnotations"}
_LONGEST_LIST = 64


def combine(
    *layers: Mapping[str, Any], settings: Iterable[str] = ()
) -> tuple[Values, dict[str, Any]]:
    """
    Values made of the defaults, then each layer, then each `key=value`; the last one wins.

    Returns the values and the overrides: all that differs from the defaults.

    Raises:
        UsageError: a setting is not `key=value`, or a name is unknown.
        InvalidInput: a value is not of the type or form that its name asks for.

    """
    document = Values().as_document()
    for layer in layers:
        _check_names(layer, document)
        document = _merged(document, layer)
    for setting in settings:
        _set(document, setting)
    try:
        values = msgspec.convert(document, Values, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"values: {_readable(str(error))}") from error
    return values, difference(values)


def load(text: str, source: str) -> dict[str, Any]:
    """
    Overrides from a YAML document; `source` names it in errors.

    Raises:
        InvalidInput: not YAML, or not a mapping.

    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidInput(f"{source}: expected names and values, found {type(document).__name__}")
    return document


def difference(values: Values) -> dict[str, Any]:
    """All that differs from the defaults, as plain data; `{}` for the defaults."""
    return _difference(values.as_document(), Values().as_document())


def paths() -> list[str]:
    """Every name that can be set, dotted, sorted."""
    return sorted(_leaves(Values().as_document()))


def _leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and name not in _FREE_FORM:
            yield from _leaves(value, f"{path}.")
        else:
            yield path


def _check_names(layer: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in layer.items():
        path = f"{prefix}{name}"
        if name not in known:
            raise _unknown(path)
        default = known[name]
        if isinstance(default, dict) and name not in _FREE_FORM:
            if not isinstance(value, dict):
                raise InvalidInput(f"values: `{path}` is a group of names, not a value")
            _check_names(value, default, f"{path}.")


def _unknown(path: str) -> UsageError:
    known = paths()
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.5) or [
        name for name in known if name.rpartition(".")[2] == path.rpartition(".")[2]
    ]
    advice = f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"
    return UsageError(f"unknown value `{path}`{advice}")


def _merged(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in layer.items():
        below = result.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        result[name] = _merged(below, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def _difference(document: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in document.items():
        default = base.get(name)
        if value == default:
            continue
        both = isinstance(value, dict) and isinstance(default, dict)
        result[name] = _difference(value, default) if both else value  # type: ignore[arg-type]
    return result


def _set(document: dict[str, Any], setting: str) -> None:
    path, separator, text = setting.partition("=")
    if not separator or not path:
        raise UsageError(f"--set {setting}: expected key=value")
    matches = []
    for segment in re.split(r"(?<!\\)\.", path):
        match = _SEGMENT.match(segment.replace("\\.", "."))
        if match is None:
            raise UsageError(f"--set {setting}: `{segment}` is not a name or name[index]")
        matches.append(match)
    node, checked = document, True
    for match in matches[:-1]:
        node, checked = _below(node, match, path, checked=checked)
    name, index = matches[-1]["name"], matches[-1]["index"]
    if checked and name not in node:
        raise _unknown(path)
    if index is not None:
        _items(node, name, int(index), path, filler="")[int(index)] = text
    elif checked and isinstance(node[name], dict):
        raise InvalidInput(f"values: `{path}` is a group of names, not a value")
    else:
        node[name] = _value(text, node.get(name))


def _below(
    node: dict[str, Any], match: re.Match[str], path: str, *, checked: bool
) -> tuple[dict[str, Any], bool]:
    """The group that a segment names, and whether names inside it are known beforehand."""
    name, index = match["name"], match["index"]
    if checked and name not in node:
        raise _unknown(path)
    if index is not None:
        items = _items(node, name, int(index), path, filler={})
        return items[int(index)], False
    below = node.get(name)
    if not isinstance(below, dict):
        raise _unknown(path)
    return below, checked and name not in _FREE_FORM


def _items(node: dict[str, Any], name: str, index: int, path: str, *, filler: Any) -> list[Any]:
    items = list(node.get(name) or [])
    if index > len(items) or index >= _LONGEST_LIST:
        raise UsageError(f"--set {path}: index {index} leaves a gap; the list has {len(items)}")
    if index == len(items):
        items.append(filler)
    node[name] = items
    return items


def _value(text: str, default: Any) -> Any:
    if isinstance(default, list | tuple):
        return [part for part in text.split(",") if part]
    return text


def _readable(message: str) -> str:
    """Turn msgspec's "Expected `int` - at `$.proxy.uid`" into a sentence on `proxy.uid`."""
    reason, separator, place = message.rpartition(" - at `$.")
    if not separator:
        return message
    path = place.rstrip("`")
    if reason.startswith("Invalid enum value"):
        found = reason.removeprefix("Invalid enum value ").strip("'")
        return f'`{path}`: "{found}" is not one of {", ".join(_choices(path))}'
    for told, meant in _MEANINGS.items():
        if told in reason:
            return f"`{path}`: {meant}"
    return f"`{path}`: {reason[0].lower()}{reason[1:]}".replace("`int`", "a whole number")


_MEANINGS = {
    "Expected `int`, got": "expected a whole number",
    "Expected `float`, got": "expected a number",
    "Expected `bool`, got": "expected true or false",
    "[0-9]+(ms|s|m|h|d)": "expected a duration in one unit, like 500ms, 90s or 2m",
    ")?(ms|s|m|h|d)": "expected a duration like 20s, 24h or 1h30m",
    "[0-9]+%?$": "expected a number of pods or a share like 25%",
    "(m|k|Ki|": "expected a quantity like 250m, 1 or 64Mi",
}
"""What msgspec's words, or a part of a pattern that it prints, say to a user."""


def _choices(path: str) -> list[str]:
    """Values that the name at a path may have; none when it is not a choice."""
    node: msgspec.inspect.Type = msgspec.inspect.type_info(Values)
    for name in path.split("."):
        if not isinstance(node, msgspec.inspect.StructType):
            return []
        node = next(field.type for field in node.fields if field.encode_name == name)
    return [value for value in getattr(node, "values", ()) if value] or []
