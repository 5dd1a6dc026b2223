"""
Structural schemas of custom resources: pruning, defaulting and validation.

Semantics: "Structural schemas" in Kubernetes' CustomResourceDefinition documentation.
Rules in CEL (`x-kubernetes-validations`) are not evaluated; whoever creates a CRD with such rules
is told so.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from harness.cluster.embedded.status import Cause
from harness.cluster.embedded.store import copied

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["causes", "complete", "has_rules", "problems", "pruned"]

_ROOT = {"apiVersion", "kind", "metadata"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_BOUNDS = {
    "minLength": (str, "should be at least {} chars long"),
    "maxLength": (str, "may not be more than {} bytes"),
    "minItems": (list, "should have at least {} items"),
    "maxItems": (list, "must have at most {} items"),
    "minProperties": (dict, "should have at least {} properties"),
    "maxProperties": (dict, "must have at most {} properties"),
}
_SHAPES: dict[str, Any] = {
    **dict.fromkeys(_BOUNDS, int),
    **dict.fromkeys(("minimum", "maximum"), float),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum", "nullable"), bool),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "enum"), list[Any]),
    **dict.fromkeys(("required", "x-kubernetes-list-map-keys"), list[str]),
    **dict.fromkeys(("pattern", "format", "x-kubernetes-list-type"), str),
    "additionalProperties": bool | dict[str, Any],
    "multipleOf": Annotated[float, msgspec.Meta(gt=0)],
    "properties": dict[str, Any],
}
"""Of the keywords that are acted upon."""
_DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


def pruned(value: Any, schema: Mapping[str, Any], unknown: list[str], path: str = "") -> Any:
    """The value without what its schema does not know; paths of that are appended to `unknown`."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [
            pruned(item, items, unknown, f"{path}[{index}]") for index, item in enumerate(value)
        ]
    if not isinstance(value, dict) or _is_open(schema):
        return value
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    result = {}
    for name, below in value.items():
        at = f"{path}.{name}" if path else name
        embedded = not path or schema.get("x-kubernetes-embedded-resource")
        if embedded and name in _ROOT:
            result[name] = below
        elif name in properties:
            result[name] = pruned(below, properties[name], unknown, at)
        elif isinstance(extra, dict):
            result[name] = pruned(below, extra, unknown, at)
        elif extra is True or schema.get("x-kubernetes-preserve-unknown-fields"):
            result[name] = below
        else:
            unknown.append(at)
    return result


def complete(value: Any, schema: Mapping[str, Any]) -> None:
    """Fill in the defaults that the schema names, in place, and drop nulls that it forbids."""
    if isinstance(value, list):
        for item in value:
            complete(item, schema.get("items") or {})
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    for name, below in properties.items():
        null = name in value and value[name] is None and not below.get("nullable")
        if null:
            del value[name]
        if name not in value and "default" in below:
            value[name] = copied({"": below["default"]})[""]
        if name in value:
            complete(value[name], below)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for name in value.keys() - properties.keys():
            complete(value[name], extra)


def causes(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[Cause]:
    """Each rule of the schema that the value breaks."""
    if value is None and schema.get("nullable"):
        return
    wrong = _wrong_type(value, schema)
    if wrong:
        shown = "object" if isinstance(value, dict) else _shown(value)
        yield Cause(
            path or "<root>",
            f"Invalid value: {shown}: {path} in body must be of type {wrong}",
            "FieldValueTypeInvalid",
        )
        return
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(_shown(one) for one in schema["enum"])
        yield Cause(
            path,
            f"Unsupported value: {_shown(value)}: supported values: {supported}",
            "FieldValueNotSupported",
        )
    yield from (
        Cause(path, f"Invalid value: {_shown(value)}: {path} in body {told}")
        for told in _broken_bounds(value, schema)
    )
    yield from _combined(value, schema, path)
    if isinstance(value, dict):
        yield from _inside_object(value, schema, path)
    elif isinstance(value, list):
        yield from _inside_list(value, schema, path)


def problems(schema: Any, path: str) -> Iterator[Cause]:
    """What makes a schema itself unusable."""
    if not isinstance(schema, dict):
        yield Cause(path, "Invalid value: must be an object", "FieldValueTypeInvalid")
        return
    if "type" in schema and schema["type"] not in tuple(_TYPES):
        listed = ", ".join(f'"{name}"' for name in _TYPES)
        message = f'Unsupported value: "{schema["type"]}": supported values: {listed}'
        yield Cause(f"{path}.type", message, "FieldValueNotSupported")
    for name, shape in _SHAPES.items():
        if name in schema:
            try:
                msgspec.convert(schema[name], shape)
            except msgspec.ValidationError as error:
                yield Cause(f"{path}.{name}", f"Invalid value: {error}", "FieldValueTypeInvalid")
                return
    for name, below in (schema.get("properties") or {}).items():
        yield from problems(below, f"{path}.properties[{name}]")
    for name in ("allOf", "anyOf", "oneOf"):
        for index, below in enumerate(schema.get(name) or ()):
            yield from problems(below, f"{path}.{name}[{index}]")
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), dict) or (
            name in schema and name != "additionalProperties"
        ):
            yield from problems(schema[name], f"{path}.{name}")


def has_rules(schema: Any) -> bool:
    """Whether there are rules in CEL anywhere in a schema."""
    if isinstance(schema, dict):
        return "x-kubernetes-validations" in schema or any(map(has_rules, schema.values()))
    return isinstance(schema, list) and any(map(has_rules, schema))


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Whether nothing is known of an object's fields, so that all of them are kept."""
    return bool(
        schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("properties")
    ) or bool(schema.get("x-kubernetes-int-or-string"))


def _wrong_type(value: Any, schema: Mapping[str, Any]) -> str:
    """The type that the value should have been of, or nothing."""
    if schema.get("x-kubernetes-int-or-string"):
        right = isinstance(value, (int, str)) and not isinstance(value, bool)
        return "" if right else "integer,string"
    wanted = schema.get("type")
    if wanted is None:
        return ""
    if isinstance(value, bool):
        return "" if wanted == "boolean" else wanted
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return ""
    return "" if isinstance(value, _TYPES[wanted]) else wanted


def _broken_bounds(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, (type_, told) in _BOUNDS.items():
        bound = schema.get(name)
        if bound is None or not isinstance(value, type_):
            continue
        if len(value) < bound if name.startswith("min") else len(value) > bound:
            yield told.format(bound)
    if isinstance(value, str):
        if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
            yield f"should match '{schema['pattern']}'"
        if schema.get("format") == "date-time" and not _DATE_TIME.match(value):
            yield "must be of type date-time"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _broken_limits(value, schema)


def _broken_limits(value: float, schema: Mapping[str, Any]) -> Iterator[str]:
    low, high, step = (schema.get(name) for name in ("minimum", "maximum", "multipleOf"))
    strict_low, strict_high = (schema.get(f"exclusive{name}") for name in ("Minimum", "Maximum"))
    if low is not None and (value <= low if strict_low else value < low):
        yield f"should be greater than {'' if strict_low else 'or equal to '}{low}"
    if high is not None and (value >= high if strict_high else value > high):
        yield f"should be less than {'' if strict_high else 'or equal to '}{high}"
    if step and value % step:
        yield f"should be a multiple of {step}"


def _combined(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for part in schema.get("allOf") or ():
        yield from causes(value, part, path)
    for name, enough in (("anyOf", "at least one"), ("oneOf", "exactly one")):
        parts = schema.get(name)
        if not parts:
            continue
        valid = sum(1 for part in parts if next(causes(value, part, path), None) is None)
        if valid < 1 or (name == "oneOf" and valid > 1):
            told = f'"{path}" must validate {enough} schema ({name})'
            yield Cause(path or "<root>", f"Invalid value: {told}")
    if "not" in schema and next(causes(value, schema["not"], path), None) is None:
        yield Cause(path or "<root>", f'Invalid value: "{path}" must not validate the schema (not)')


def _inside_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[Cause]:
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for name in schema.get("required") or ():
        if name not in value:
            at = f"{path}.{name}" if path else name
            yield Cause(at, "Required value", "FieldValueRequired")
    for name, below in value.items():
        at = f"{path}.{name}" if path else name
        if name in properties:
            if not path and name in _ROOT:
                continue  # Checked for all kinds alike.
            yield from causes(below, properties[name], at)
        elif isinstance(extra, dict):
            yield from causes(below, extra, at)


def _inside_list(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    unique = schema.get("uniqueItems") or schema.get("x-kubernetes-list-type") in {"set", "map"}
    seen = []
    for index, item in enumerate(value):
        at = f"{path}[{index}]"
        yield from causes(item, schema.get("items") or {}, at)
        known = isinstance(item, dict) and keys
        identity = [item.get(key) for key in keys] if known else item
        if unique and identity in seen:
            yield Cause(at, f"Duplicate value: {_shown(identity)}", "FieldValueDuplicate")
        seen.append(identity)


@functools.lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of Go's dialect; what Python does not know of it matches everything."""
    try:
        return re.compile(text.replace(r"\z", r"\Z").replace("[[:alnum:]]", "[A-Za-z0-9]"))
    except re.error:
        return re.compile("")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
