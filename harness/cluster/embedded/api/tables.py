"""
Tables: what `kubectl get` prints, rendered here as Kubernetes does.

Protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api import columns, jsonpath
from harness.cluster.embedded.api.columns import Column, age
from harness.cluster.embedded.api.partial import partial_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.customs import Customs
    from harness.cluster.embedded.store import Obj

__all__ = ["Renderer", "wanted"]

_GROUP_VERSION = "meta.k8s.io/v1"


def wanted(request: Request) -> bool:
    """Whether the client prefers a table: only kubectl does, and it names it first."""
    return "as=Table" in request.headers.get("accept", "").partition(",")[0].replace(" ", "")


class Renderer:
    """Renders the objects of one request; the columns are described in its first table only."""

    def __init__(self, customs: Customs, ask: Ask) -> None:
        resource = ask.place.resource
        self._api_version = resource.api_version_of(ask.place.version)
        self._include = ask.query.get("includeObject", "Metadata")
        self._described = False
        self._columns: Sequence[Column]
        if resource.custom:
            printed = customs.version(resource, ask.place.version).get("additionalPrinterColumns")
            self._columns = _custom_columns(printed)
        else:
            self._columns = columns.of(resource.key)

    def listed(self, objects: Sequence[Obj], metadata: Obj) -> Obj:
        """A table of these objects under the metadata of their list."""
        table = {
            "kind": "Table",
            "apiVersion": _GROUP_VERSION,
            "metadata": metadata,
            "columnDefinitions": [column.definition() for column in self._columns],
            "rows": [self._row(obj) for obj in objects],
        }
        if self._described:
            table["columnDefinitions"] = []
        self._described = True
        return table

    def single(self, obj: Obj) -> Obj:
        """The table of one row that stands for an object, also in an event."""
        return self.listed([obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")})

    def _row(self, obj: Obj) -> Obj:
        row: Obj = {"cells": [column.cell(obj) for column in self._columns]}
        if self._include == "Object":
            row["object"] = {**obj, "apiVersion": self._api_version}
        elif self._include == "Metadata":
            row["object"] = partial_object(obj)
        return row


def _custom_columns(printed: Any) -> list[Column]:
    if not printed:
        return list(columns.DEFAULT)
    return [columns.NAME, *(_custom_column(described) for described in printed)]


def _custom_column(described: Obj) -> Column:
    path, type_ = described["jsonPath"], described["type"]

    def cell(obj: Obj) -> Any:
        values = jsonpath.found(obj, path)
        if not values or values[0] is None:
            return None
        if type_ == "date":
            return age(str(values[0]))
        if type_ in {"integer", "number", "boolean"} and len(values) == 1:
            return values[0]
        return ",".join(_text(value) for value in values)

    return Column(
        described["name"],
        cell,
        type=type_,
        priority=described.get("priority", 0),
        description=described.get("description", ""),
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
