"""
The fields of built-in kinds, taken from the Kubernetes API models that lightkube ships.

Decoding follows Go's, which real API servers use: a field of the wrong type is an error, null is
the same as absent, and an unknown field is dropped and reported.
"""

from __future__ import annotations

import functools
import importlib
import types
import typing
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from harness.cluster.embedded.status import BadRequest, Cause

if TYPE_CHECKING:
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj

__all__ = ["decoded", "decoded_metadata", "missing", "model"]

_STRING_MAPS = {
    "annotations",
    "binaryData",
    "data",
    "labels",
    "matchLabels",
    "nodeSelector",
    "selector",
    "stringData",
}
"""Fields that the models call just `dict`: text by text, where they are no structures."""

_QUANTITY_MAPS = {"allocatable", "capacity", "hard", "limits", "overhead", "requests", "used"}

_GO_NAMES: dict[type, str] = {
    bool: "bool",
    dict: "object",
    float: "number",
    int: "number",
    list: "array",
    str: "string",
}

_JSON_TYPES: dict[Any, type] = {
    bool: bool,
    datetime: str,
    dict: dict,
    float: float,
    int: int,
    str: str,
    types.UnionType: str,
}
"""What a model's type is in JSON; of int-or-string, what is no int."""


class _Field(NamedTuple):
    type: Any
    required: bool


def model(resource: Resource) -> type | None:
    """The class that describes a built-in kind, or None when there is none."""
    if resource.custom:
        return None
    module = f"{resource.group.partition('.')[0] or 'core'}_{resource.versions[0]}"
    return getattr(importlib.import_module(f"lightkube.models.{module}"), resource.kind, None)


def decoded(resource: Resource, obj: Obj) -> tuple[Obj, list[str]]:
    """
    The object as a server of this kind understands it, and the paths of what it does not know.

    Raises:
        BadRequest: a field is of the wrong type; the message names field and type.

    """
    kind = model(resource)
    if kind is None:
        return dict(obj), []
    unknown: list[str] = []
    decoder = _Decoder(resource, unknown)
    return decoder.value(obj, kind, ""), unknown


def decoded_metadata(resource: Resource, metadata: Obj, unknown: list[str]) -> Obj:
    """The metadata of an object of any kind; see `decoded`."""
    from lightkube.models import meta_v1  # noqa: PLC0415 - imported when something is written

    decoder = _Decoder(resource, unknown)
    known: Obj = decoder.value(metadata, meta_v1.ObjectMeta, "metadata")
    return known


def missing(resource: Resource, obj: Obj) -> list[Cause]:
    """One cause for each required field below `spec` that the object lacks."""
    kind = model(resource)
    field = _fields(kind).get("spec") if kind else None
    if field is None or not isinstance(obj.get("spec"), dict):
        return []
    return list(_missing(obj["spec"], field.type, "spec"))


def _missing(value: Any, type_: Any, path: str) -> typing.Iterator[Cause]:
    type_ = _plain(type_)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _missing(item, _item_type(type_), f"{path}[{index}]")
    elif isinstance(value, dict) and _is_model(type_):
        for name, field in _fields(type_).items():
            if name in value:
                yield from _missing(value[name], field.type, f"{path}.{name}")
            elif field.required:
                yield Cause(f"{path}.{name}", "Required value", "FieldValueRequired")


class _Decoder:
    def __init__(self, resource: Resource, unknown: list[str]) -> None:
        self._resource = resource
        self._unknown = unknown

    def value(self, value: Any, type_: Any, path: str) -> Any:
        type_ = _plain(type_)
        if _is_model(type_):
            return self._object(self._expect(value, dict, type_.__name__, path), type_, path)
        if typing.get_origin(type_) is list:
            item_type = _item_type(type_)
            items = self._expect(value, list, "array", path)
            return [
                self.value(item, item_type, f"{path}[{index}]")
                for index, item in enumerate(items)
                if item is not None
            ]
        if type_ is str and path.rpartition(".")[2] in {"divisor", "sizeLimit", "storage"}:
            return self._quantity(value, path)
        return self._scalar(value, type_, path)

    def _object(self, value: Obj, type_: Any, path: str) -> Obj:
        fields = _fields(type_)
        result = {}
        for name, below in value.items():
            at = f"{path}.{name}" if path else name
            field = fields.get(name)
            if field is None:
                self._unknown.append(at)
            elif below is None:
                continue
            elif _plain(field.type) is dict:
                result[name] = self._map(below, name, at)
            else:
                result[name] = self.value(below, field.type, at)
        return result

    def _map(self, value: Any, name: str, path: str) -> Obj:
        entries: Obj = self._expect(value, dict, "map", path)
        if name in _QUANTITY_MAPS:
            return {key: self._quantity(below, f"{path}.{key}") for key, below in entries.items()}
        if name in _STRING_MAPS:
            for key, below in entries.items():
                self._expect("" if below is None else below, str, "string", f"{path}.{key}")
            return {key: below or "" for key, below in entries.items()}
        return entries

    def _scalar(self, value: Any, type_: Any, path: str) -> Any:
        if type_ is int and isinstance(value, float) and value.is_integer():
            return int(value)
        takes_numbers = type_ is float or type_ == (int | str)
        if takes_numbers and isinstance(value, int) and not isinstance(value, bool):
            return value
        json_type = _JSON_TYPES.get(typing.get_origin(type_) or type_)
        if json_type is None:
            return value
        return self._expect(value, json_type, _GO_NAMES[json_type], path)

    def _quantity(self, value: Any, path: str) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        text: str = self._expect(value, str, "quantity", path)
        return text

    def _expect(self, value: Any, type_: type, name: str, path: str) -> Any:
        right = isinstance(value, type_) and (type_ is not int or not isinstance(value, bool))
        if right:
            return value
        found = _GO_NAMES.get(type(value), "null")
        resource = self._resource
        raise BadRequest(
            f'{resource.kind} in version "{resource.versions[0]}" cannot be handled as a '
            f"{resource.kind}: json: cannot unmarshal {found} into Go struct field "
            f"{resource.kind}.{path} of type {name}"
        )


@functools.cache
def _fields(type_: Any) -> dict[str, _Field]:
    return {
        field.encode_name: _Field(field.type, field.required)
        for field in msgspec.structs.fields(type_)
    }


def _is_model(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


@functools.cache
def _plain(type_: Any) -> Any:
    """The type without None."""
    if typing.get_origin(type_) not in {typing.Union, types.UnionType}:
        return type_
    kept = [one for one in typing.get_args(type_) if one is not type(None)]
    return kept[0] if len(kept) == 1 else int | str


def _item_type(type_: Any) -> Any:
    arguments = typing.get_args(type_)
    return arguments[0] if arguments else Any
