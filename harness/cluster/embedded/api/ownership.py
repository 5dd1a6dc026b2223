"""
Who goes with whom: owners and their dependents, namespaces and their content, CRDs and instances.

Kubernetes does this in a garbage collector and two controllers that run behind the writes. Here it
happens within the write, so that a deletion is complete when its answer arrives, unless finalizers
or running pods hold something back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cluster.embedded.status import NotFound
from harness.cluster.embedded.store import copied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Deleted, Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["Ownership"]

_FOREGROUND = "foregroundDeletion"
_INSTANCES = "customresourcecleanup.apiextensions.k8s.io"
_NAMESPACES: Key = ("", "namespaces")
_CRDS: Key = ("apiextensions.k8s.io", "customresourcedefinitions")

_Place = tuple["Key", str, str]


class Ownership:
    """Listens to a store and deletes what must not outlive something else."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dependents: dict[str, dict[_Place, None]] = {}
        """Owner uid to the places of its dependents, in order of creation."""
        store.listen(self._changed)

    def delete(self, resource: Resource, namespace: str | None, name: str, options: Obj) -> Deleted:
        """
        Delete an object with a propagation policy: Background (the default), Foreground, Orphan.

        Raises:
            NotFound: there is none of that name.
            Conflict: the preconditions do not hold.

        """
        kind = resource.key
        if options.get("dryRun"):
            return self._store.delete(kind, namespace, name, options=options)
        obj = self._store.peek(kind, namespace, name)
        policy = options.get("propagationPolicy")
        self._store.check_preconditions(kind, namespace, name, options)
        if policy == "Orphan":
            self._release(obj["metadata"]["uid"])
        elif policy == "Foreground" and self._blocking(obj["metadata"]["uid"]):
            self._hold(kind, obj, _FOREGROUND)
        elif kind == _CRDS and self._instances(obj):
            self._hold(kind, obj, _INSTANCES)
        if kind == _NAMESPACES:
            self._say_terminating(obj)
        # They held, and what was just written changed the version that they may name.
        checked = {**options, "preconditions": None}
        return self._store.delete(kind, namespace, name, options=checked)

    def _changed(self, resource: Resource, change: Change) -> None:
        self._index(resource, change)
        if change.type == "ADDED":
            self._drop_if_ownerless(resource, change.object)
        elif change.type == "DELETED":
            self._gone(resource, change.object)
        elif _begins_to_end(change):
            self._ending(resource, change.object)

    def _index(self, resource: Resource, change: Change) -> None:
        place = _place(resource, change.object)
        before = _owner_uids(change.old) if change.old else set()
        after = _owner_uids(change.object) if change.type != "DELETED" else set()
        for uid in before - after:
            dependents = self._dependents.get(uid, {})
            dependents.pop(place, None)
            if not dependents:
                self._dependents.pop(uid, None)
        for uid in after - before:
            self._dependents.setdefault(uid, {})[place] = None

    def _drop_if_ownerless(self, resource: Resource, obj: Obj) -> None:
        """A controller may have been creating this while its owner went."""
        owners = _owner_uids(obj)
        if owners and not any(self._store.has_uid(uid) for uid in owners):
            self._try_delete(_place(resource, obj), "Background")

    def _gone(self, resource: Resource, obj: Obj) -> None:
        metadata = obj["metadata"]
        for place in list(self._dependents.get(metadata["uid"], ())):
            if not any(self._store.has_uid(uid) for uid in _owner_uids(self._at(place))):
                self._try_delete(place, "Background")
        for uid in _owner_uids(obj):
            self._let_go_if_free(uid)
        if resource.key == _NAMESPACES:
            for content, inside in list(self._content(metadata["name"])):
                self._try_delete(_place(content, inside), "Background")
        if resource.namespaced:
            self._finish_namespace(metadata["namespace"])
        if resource.custom:
            self._finish_crd(resource)

    def _ending(self, resource: Resource, obj: Obj) -> None:
        """An object has got its deletionTimestamp and waits for others to go first."""
        finalizers = obj["metadata"].get("finalizers") or ()
        if _FOREGROUND in finalizers:
            for place in list(self._dependents.get(obj["metadata"]["uid"], ())):
                self._try_delete(place, "Foreground")
            self._let_go_if_free(obj["metadata"]["uid"])
        if resource.key == _NAMESPACES:
            name = obj["metadata"]["name"]
            for content, inside in list(self._content(name)):
                self._try_delete(_place(content, inside), "Background")
            self._finish_namespace(name)
        if resource.key == _CRDS:
            for custom, instance in list(self._instances(obj)):
                self._try_delete(_place(custom, instance), "Background")

    def _try_delete(self, place: _Place, policy: str) -> None:
        kind, namespace, name = place
        try:
            obj = self._store.peek(kind, namespace, name)
            if "deletionTimestamp" not in obj["metadata"]:
                resource = self._store.registry[kind]
                self.delete(resource, namespace, name, {"propagationPolicy": policy})
        except NotFound:
            return  # Another cascade took it.

    def _release(self, uid: str) -> None:
        """Strip an owner's dependents of their references to it."""
        for place in list(self._dependents.get(uid, ())):
            obj = copied(self._at(place))
            kept = [ref for ref in obj["metadata"]["ownerReferences"] if ref["uid"] != uid]
            obj["metadata"]["ownerReferences"] = kept
            self._store.update(place[0], obj)

    def _hold(self, kind: Key, obj: Obj, finalizer: str) -> None:
        finalizers = obj["metadata"].get("finalizers") or []
        if finalizer not in finalizers and "deletionTimestamp" not in obj["metadata"]:
            held = copied(obj)
            held["metadata"]["finalizers"] = [*finalizers, finalizer]
            self._store.update(kind, held)

    def _let_go(self, kind: Key, obj: Obj, finalizer: str) -> None:
        free = copied(obj)
        finalizers = free["metadata"].get("finalizers") or []
        if finalizer in finalizers and "deletionTimestamp" in free["metadata"]:
            free["metadata"]["finalizers"] = [one for one in finalizers if one != finalizer]
            self._store.update(kind, free)

    def _let_go_if_free(self, uid: str) -> None:
        place = self._store.located(uid)
        if place is not None and not self._blocking(uid):
            self._let_go(place[0], self._at(place), _FOREGROUND)

    def _blocking(self, uid: str) -> bool:
        """Whether a dependent is there that a foreground deletion of its owner waits for."""
        return any(
            ref["uid"] == uid and ref.get("blockOwnerDeletion")
            for place in self._dependents.get(uid, ())
            for ref in self._at(place)["metadata"].get("ownerReferences") or ()
        )

    def _at(self, place: _Place) -> Obj:
        return self._store.peek(*place)

    def _say_terminating(self, namespace: Obj) -> None:
        said = copied(namespace)
        said["status"] = {**(said.get("status") or {}), "phase": "Terminating"}
        self._store.update(_NAMESPACES, said, subresource="status")

    def _content(self, namespace: str) -> Iterator[tuple[Resource, Obj]]:
        for resource, obj in self._store.everything():
            if obj["metadata"].get("namespace") == namespace:
                yield resource, obj

    def _finish_namespace(self, name: str) -> None:
        try:
            namespace = self._store.get(_NAMESPACES, None, name)
        except NotFound:
            return
        if "deletionTimestamp" in namespace["metadata"] and not any(self._content(name)):
            namespace.setdefault("spec", {})["finalizers"] = []
            self._store.update(_NAMESPACES, namespace)

    def _instances(self, crd: Obj) -> list[tuple[Resource, Obj]]:
        kind = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        if kind not in self._store.registry:
            return []
        resource = self._store.registry[kind]
        return [(resource, obj) for obj in self._store.scan(kind)]

    def _finish_crd(self, resource: Resource) -> None:
        try:
            crd = self._store.peek(_CRDS, None, f"{resource.plural}.{resource.group}")
        except NotFound:
            return
        if not self._store.scan(resource.key):
            self._let_go(_CRDS, crd, _INSTANCES)


def _owner_uids(obj: Obj) -> set[str]:
    return {ref["uid"] for ref in obj["metadata"].get("ownerReferences") or ()}


def _place(resource: Resource, obj: Obj) -> _Place:
    return (resource.key, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _begins_to_end(change: Change) -> bool:
    before = change.old["metadata"] if change.old else {}
    return "deletionTimestamp" in change.object["metadata"] and "deletionTimestamp" not in before
