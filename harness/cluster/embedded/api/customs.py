"""Custom kinds: a CRD that is stored is served at once, and no longer when it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api import schemas
from harness.cluster.embedded.resources import Resource
from harness.cluster.embedded.store import copied, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cluster.embedded.resources import Key
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["CRDS", "Customs"]

CRDS: Key = ("apiextensions.k8s.io", "customresourcedefinitions")


class Customs:
    """Listens to a store for CRDs, and knows what each version of a custom kind looks like."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[Key, dict[str, Obj]] = {}
        store.listen(self._changed)

    def version(self, resource: Resource, version: str) -> Mapping[str, Any]:
        """The entry of that version in the CRD."""
        return self._versions[resource.key][version]

    def schema(self, resource: Resource, version: str) -> Mapping[str, Any]:
        """The OpenAPI v3 schema of that version."""
        schema: Mapping[str, Any] = (self.version(resource, version).get("schema") or {}).get(
            "openAPIV3Schema"
        ) or {}
        return schema

    @staticmethod
    def warnings(crd: Obj) -> list[str]:
        """What of a CRD this server takes without acting on it."""
        name, spec = crd["metadata"]["name"], crd["spec"]
        warnings = []
        if schemas.has_rules(spec["versions"]):
            warnings.append(
                f"{name}: rules in CEL (x-kubernetes-validations) are not evaluated by the "
                "embedded engine"
            )
        if any("scale" in (version.get("subresources") or {}) for version in spec["versions"]):
            warnings.append(
                f"{name}: the scale subresource is not supported by the embedded engine"
            )
        return warnings

    def _changed(self, resource: Resource, change: Change) -> None:
        if resource.key != CRDS:
            return
        crd = change.object
        kind = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        if change.type == "DELETED":
            self._store.registry.remove(kind)
            self._store.end_watches(kind)
            self._versions.pop(kind, None)
            return
        spec = crd["spec"]
        self._versions[kind] = {version["name"]: version for version in spec["versions"]}
        self._store.registry.add(_resource(spec))
        self._establish(crd)

    def _establish(self, crd: Obj) -> None:
        status = crd.get("status") or {}
        names = copied(crd["spec"]["names"])
        stored = _storage(crd["spec"]["versions"])["name"]
        before = status.get("storedVersions") or []
        wanted = {
            "acceptedNames": names,
            "storedVersions": before if stored in before else [*before, stored],
        }
        conditions = status.get("conditions") or [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition(
                "Established", "InitialNamesAccepted", "the initial names have been accepted"
            ),
        ]
        new = {**copied(crd), "status": {**status, **wanted, "conditions": conditions}}
        self._store.update(CRDS, new, subresource="status")


def _condition(type_: str, reason: str, message: str) -> Obj:
    return {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": timestamp(),
    }


def _storage(versions: list[Obj]) -> Obj:
    return next(version for version in versions if version.get("storage"))


def _resource(spec: Obj) -> Resource:
    names = spec["names"]
    storage = _storage(spec["versions"])
    served = [one["name"] for one in spec["versions"] if one.get("served") and one is not storage]
    declared = [set(one.get("subresources") or {}) for one in spec["versions"]]
    return Resource(
        group=spec["group"],
        versions=(storage["name"], *served),
        plural=names["plural"],
        kind=names["kind"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(sorted(set().union(*declared))),
        custom=True,
    )
