"""
What the API server knows of a kind: how it is decoded, completed and judged.

Built-in kinds follow the Kubernetes types, custom ones their CRD's schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cluster.embedded.api import defaults, lists, schemas, typed, validation
from harness.cluster.embedded.api.addresses import Addresses
from harness.cluster.embedded.api.customs import CRDS, Customs
from harness.cluster.embedded.status import Invalid

if TYPE_CHECKING:
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.status import Cause
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["Rules"]


class Rules:
    """The rules of all kinds in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._addresses = Addresses(store)
        self.customs = Customs(store)

    def list_kinds(self, resource: Resource, version: str) -> lists.ListKinds:
        """Which lists of this kind are maps."""
        schema = self.customs.schema(resource, version) if resource.custom else None
        return lists.ListKinds(resource, schema)

    def decode(self, resource: Resource, version: str, obj: Obj) -> list[str]:
        """
        Drop from the object, in place, what its kind does not know, and return the paths of that.

        Raises:
            BadRequest: a field of a built-in kind is of the wrong type.

        """
        if resource.custom:
            unknown: list[str] = []
            known = dict(schemas.pruned(obj, self.customs.schema(resource, version), unknown))
            known["metadata"] = typed.decoded_metadata(resource, obj["metadata"], unknown)
        else:
            known, unknown = typed.decoded(resource, obj)
        obj.clear()
        obj.update(known)
        return unknown

    def complete(self, resource: Resource, version: str, obj: Obj, old: Obj | None) -> None:
        """
        Fill in defaults and what the server allocates, in place.

        Raises:
            Invalid: a required field is missing, or what is asked for cannot be allocated.

        """
        if resource.custom:
            schemas.complete(obj, self.customs.schema(resource, version))
            return
        missing = typed.missing(resource, obj)
        if missing:
            metadata = obj["metadata"]
            name = metadata.get("name") or metadata.get("generateName", "")
            raise Invalid(resource, name, missing)
        defaults.complete(resource, obj)
        if resource.key == ("", "services"):
            self._addresses.allocate(resource, obj, old)
        elif resource.key == ("", "pods") and old is None:
            defaults.add_account(self._store, obj)

    def warnings(self, resource: Resource, obj: Obj) -> list[str]:
        """What of a new object is taken without anything acting on it."""
        if resource.key == CRDS:
            return self.customs.warnings(obj)
        if resource.stored_only:
            return [f"{resource.kind}: stored, but nothing in the embedded engine acts on it"]
        return []

    def causes(self, resource: Resource, version: str, obj: Obj, old: Obj | None) -> list[Cause]:
        """One cause for each rule that the object breaks."""
        causes = list(validation.metadata_causes(resource, obj["metadata"]))
        if resource.custom:
            return causes + list(schemas.causes(obj, self.customs.schema(resource, version)))
        return causes + validation.causes(resource, obj, old)
