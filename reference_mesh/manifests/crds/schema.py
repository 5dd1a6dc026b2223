"""Words to write structural schemas with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DURATION",
    "INT",
    "NAME",
    "PORT",
    "REFERENCE",
    "STR",
    "Schema",
    "Version",
    "array",
    "column",
    "crd",
    "integer",
    "mapping",
    "one_of",
    "record",
    "text",
]

Schema = dict[str, Any]


def record(properties: Mapping[str, Schema], *required: str, about: str = "") -> Schema:
    """An object with these members."""
    schema: Schema = {"type": "object"}
    if about:
        schema["description"] = about
    if required:
        schema["required"] = list(required)
    schema["properties"] = dict(properties)
    return schema


def array(items: Schema, *, least: int = 0, most: int = 0) -> Schema:
    """A list; `most` 0 is no bound."""
    schema: Schema = {"type": "array", "items": items}
    if least:
        schema["minItems"] = least
    if most:
        schema["maxItems"] = most
    return schema


def mapping(values: Schema) -> Schema:
    """An object with any members."""
    return {"type": "object", "additionalProperties": values}


def text(
    *, of: Sequence[str] = (), pattern: str = "", least: int = 0, most: int = 0, default: str = ""
) -> Schema:
    """A string, optionally one of some or of a form."""
    schema: Schema = {"type": "string"}
    if of:
        schema["enum"] = list(of)
    if pattern:
        schema["pattern"] = pattern
    if least:
        schema["minLength"] = least
    if most:
        schema["maxLength"] = most
    if default:
        schema["default"] = default
    return schema


def integer(least: int | None = None, most: int | None = None) -> Schema:
    """A whole number within bounds."""
    schema: Schema = {"type": "integer"}
    if least is not None:
        schema["minimum"] = least
    if most is not None:
        schema["maximum"] = most
    return schema


def one_of(schema: Schema, *members: str) -> Schema:
    """The object, with exactly one of these members present."""
    return {**schema, "oneOf": [{"required": [member]} for member in members]}


def column(name: str, path: str, about: str, kind: str = "string") -> dict[str, Any]:
    """One column of `kubectl get`."""
    return {"name": name, "type": kind, "description": about, "jsonPath": path}


STR: Schema = {"type": "string"}
INT: Schema = {"type": "integer"}
NAME: Schema = text(least=1, most=253)
PORT: Schema = integer(1, 65535)
DURATION: Schema = text(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
REFERENCE: Schema = record(
    {
        "group": text(most=253),
        "kind": text(least=1, most=63),
        "name": NAME,
        "namespace": NAME,
    },
    "kind",
    "name",
)


_AGE = column("Age", ".metadata.creationTimestamp", "How long it has been there", "date")
"""Kubernetes adds it only to kinds without columns of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a kind. `status`, when there is one, is a subresource."""

    name: str
    spec: Schema
    status: Schema | None = None
    columns: tuple[dict[str, Any], ...] = ()
    stored: bool = False
    served: bool = True
    spec_required: bool = True

    def document(self) -> dict[str, Any]:
        """The version as it stands in a CustomResourceDefinition."""
        members: dict[str, Schema] = {
            "apiVersion": STR,
            "kind": STR,
            "metadata": {"type": "object"},
        }
        members["spec"] = self.spec
        if self.status is not None:
            members["status"] = self.status
        required = ("spec",) if self.spec_required else ()
        result: dict[str, Any] = {
            "name": self.name,
            "served": self.served,
            "storage": self.stored,
            "schema": {"openAPIV3Schema": record(members, *required)},
        }
        if self.status is not None:
            result["subresources"] = {"status": {}}
        if self.columns:
            result["additionalPrinterColumns"] = [*self.columns, _AGE]
        return result


def crd(
    group: str,
    kind: str,
    plural: str,
    versions: Sequence[Version],
    *,
    short: Sequence[str] = (),
) -> dict[str, Any]:
    """A namespaced kind."""
    spelled = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {names.CREATED_BY: f"refmesh/cli {names.VERSION}"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": spelled | ({"shortNames": list(short)} if short else {}),
            "versions": [version.document() for version in versions],
        },
    }
