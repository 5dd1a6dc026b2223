"""
Which lists are maps in disguise: their items have a key, and writers own items, not the list.

For built-in kinds this is a table by field name, from the patchMergeKey and the
x-kubernetes-list-map-keys of the Kubernetes API types; for custom ones the CRD's schema says it.
Every other list is atomic: who writes one item writes the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cluster.embedded.resources import Resource

__all__ = ["SET", "ListKinds", "item_key"]

SET = ("",)
"""In place of keys: the items themselves are the keys."""

_BY_NAME: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "finalizers": SET,
    "hostAliases": ("ip",),
    "hostIPs": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "webhooks": ("name",),
}

_IN_METADATA = {"ownerReferences", "finalizers"}
_DEFAULTS = {"protocol": "TCP", "whenUnsatisfiable": "DoNotSchedule"}
"""Of key fields that an item may leave out."""


class ListKinds:
    """Answers for one kind; `schema` is that of a custom one."""

    def __init__(self, resource: Resource, schema: Mapping[str, Any] | None = None) -> None:
        self._resource = resource
        self._schema = schema

    def keys(self, path: tuple[str, ...]) -> tuple[str, ...] | None:
        """
        The key fields of the items of the list at `path`; None when the list is atomic.

        path: names of fields from the top, without what is in brackets: spec, containers, ports.
        """
        if not path:
            return None
        if path[0] == "metadata":
            return _BY_NAME.get(path[-1]) if path[-1] in _IN_METADATA else None
        if self._resource.custom:
            return self._of_schema(path)
        if path[-1] == "ports":
            if path[-2:-1] and path[-2] in {"containers", "initContainers", "ephemeralContainers"}:
                return ("containerPort", "protocol")
            return ("port", "protocol") if self._resource.key == ("", "services") else None
        return _BY_NAME.get(path[-1])

    def _of_schema(self, path: tuple[str, ...]) -> tuple[str, ...] | None:
        schema: Mapping[str, Any] = self._schema or {}
        for step in path:
            while schema.get("type") == "array":
                schema = schema.get("items") or {}
            extra = schema.get("additionalProperties")
            below = (schema.get("properties") or {}).get(step)
            schema = below or (extra if isinstance(extra, dict) else {})
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            return SET
        if kind == "map":
            return tuple(schema.get("x-kubernetes-list-map-keys") or ())
        return None


def item_key(keys: tuple[str, ...], item: Any) -> tuple[Any, ...] | None:
    """What identifies an item among those of its list; None when it has no proper key."""
    if keys == SET:
        values: tuple[Any, ...] = (item,)
    elif isinstance(item, dict):
        values = tuple(item.get(key, _DEFAULTS.get(key)) for key in keys)
    else:
        return None
    scalars = all(isinstance(value, (str, int, float)) for value in values)
    return values if scalars else None
