"""
Writes with everything that belongs to them: decoding, defaults, admission, validation, ownership.

The HTTP side does each write through here, and so do controllers for what a user may see and a
webhook may change: above all a pod that is made for a ReplicaSet passes the injector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.cluster.embedded.api import managed
from harness.cluster.embedded.api.event_limit import EventLimit
from harness.cluster.embedded.api.ownership import Ownership
from harness.cluster.embedded.api.rules import Rules
from harness.cluster.embedded.api.tokens import SYSTEM, User
from harness.cluster.embedded.api.webhooks import Admission, Review
from harness.cluster.embedded.status import BadRequest, Conflict, Invalid, MethodNotAllowed
from harness.cluster.embedded.store import copied

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster.embedded.api.node import NodeApi
    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Deleted, Obj, Store

__all__ = ["Operations", "Write"]

_TRIES = 5
"""Of a change to an object that others write to at the same moment."""


@dataclass(slots=True)
class Write:
    """How a write is to be done. `warnings` collects what the writer should be told."""

    user: User = SYSTEM
    manager: str = ""
    """Who will own the fields that are written; nobody when empty."""
    applies: bool = False
    """The object comes from server-side apply, which has settled who owns what."""
    version: str = ""
    """Of the object that is written; the stored one when empty."""
    dry_run: bool = False
    field_validation: str = "Ignore"
    options: Obj = field(default_factory=dict)
    """The CreateOptions, UpdateOptions and so on that webhooks are shown."""
    warnings: list[str] = field(default_factory=list)


class Operations:
    """Create, update, modify and delete, as a client of Kubernetes means them."""

    def __init__(self, store: Store, node: NodeApi) -> None:
        self.store = store
        self.rules = Rules(store)
        self._admission = Admission(store, node)
        self._ownership = Ownership(store)
        EventLimit(store)

    async def create(self, kind: Key, obj: Obj, write: Write | None = None) -> Obj:
        """
        Store a new object as its defaults and the webhooks complete it.

        Raises:
            ApiError: whatever Kubernetes would refuse it with.

        """
        write = write or Write()
        resource = self._resource(kind, "create")
        version = write.version or resource.versions[0]
        obj = copied(obj)
        _drop_status(resource, obj)
        self._decode(resource, version, obj, write)
        self.store.require_place(resource, obj["metadata"])
        self.rules.complete(resource, version, obj, None)
        review = Review(resource, version, "CREATE", obj, None, write.user, write.dry_run)
        review.options = write.options
        obj = await self._admitted(review, write)
        if write.manager and not write.applies:
            managed.track(self.rules.list_kinds(resource, version), {}, obj, write.manager)
        write.warnings.extend(self.rules.warnings(resource, obj))
        return self.store.create(kind, _stored(resource, obj), dry_run=write.dry_run)

    async def update(
        self, kind: Key, obj: Obj, write: Write | None = None, *, subresource: str = ""
    ) -> Obj:
        """
        Replace an object; where it names a resourceVersion, only if that is the present one.

        subresource: `status`, or empty for everything else.

        Raises:
            ApiError: whatever Kubernetes would refuse it with.

        """
        write = write or Write()
        resource = self._resource(kind, "update")
        version = write.version or resource.versions[0]
        obj = copied(obj)
        self._decode(resource, version, obj, write)
        metadata = obj["metadata"]
        old = self.store.get(kind, metadata.get("namespace"), metadata["name"])
        obj = _keep_other_part(resource, old, obj, subresource)
        self.rules.complete(resource, version, obj, old)
        review = Review(resource, version, "UPDATE", obj, old, write.user, write.dry_run)
        review.subresource = subresource
        review.options = write.options
        obj = await self._admitted(review, write)
        if write.manager and not write.applies:
            kinds = self.rules.list_kinds(resource, version)
            managed.track(kinds, old, obj, write.manager, subresource)
        return self.store.update(
            kind, _stored(resource, obj), subresource=subresource or None, dry_run=write.dry_run
        )

    async def modify(
        self,
        kind: Key,
        namespace: str | None,
        name: str,
        change: Callable[[Obj], Obj],
        write: Write | None = None,
        *,
        subresource: str = "",
    ) -> Obj:
        """
        Change an object by a function of its present state, again when another writer came first.

        A function that sets another resourceVersion than it was given asks for that one to be
        present; then nothing is repeated.

        Raises:
            NotFound: there is none of that name.
            ApiError: whatever Kubernetes would refuse the outcome with.

        """
        for left in reversed(range(_TRIES)):
            old = self.store.get(kind, namespace, name)
            version = old["metadata"]["resourceVersion"]
            obj = change(copied(old))
            obj["metadata"].setdefault("resourceVersion", version)
            moved = obj["metadata"].get("namespace") != old["metadata"].get("namespace")
            if moved or obj["metadata"].get("name") != name:
                raise BadRequest("name and namespace of an object cannot be changed")
            try:
                return await self.update(kind, obj, write, subresource=subresource)
            except Conflict:
                if not left or obj["metadata"]["resourceVersion"] != version:
                    raise
        raise AssertionError("the last try returns or raises")

    async def delete(
        self, kind: Key, namespace: str | None, name: str, options: Obj, write: Write | None = None
    ) -> Deleted:
        """
        Delete an object, and what it owns as the propagation policy in `options` says.

        Raises:
            NotFound: there is none of that name.
            Conflict: its preconditions do not hold.
            ApiError: a webhook refused.

        """
        write = write or Write()
        resource = self._resource(kind, "delete")
        old = self.store.get(kind, namespace, name)
        dry_run = write.dry_run or bool(options.get("dryRun"))
        version = write.version or resource.versions[0]
        review = Review(resource, version, "DELETE", None, old, write.user, dry_run)
        review.options = options
        await self._admission.mutate(review, write.warnings)
        await self._admission.validate(review, write.warnings)
        return self._ownership.delete(resource, namespace, name, options)

    def _resource(self, kind: Key, verb: str) -> Resource:
        resource = self.store.registry[kind]
        if verb not in resource.verbs:
            raise MethodNotAllowed
        return resource

    def _decode(self, resource: Resource, version: str, obj: Obj, write: Write) -> None:
        expected = resource.api_version_of(version)
        given = (obj.setdefault("apiVersion", expected), obj.setdefault("kind", resource.kind))
        if given[0] not in (expected, resource.api_version) or given[1] != resource.kind:
            raise BadRequest(
                f"the object provided is {given[0]} {given[1]}, but the request is for {expected} "
                f"{resource.kind}"
            )
        obj["apiVersion"] = expected
        if not isinstance(obj.setdefault("metadata", {}), dict):
            raise BadRequest("metadata must be an object")
        unknown = self.rules.decode(resource, version, obj)
        if not unknown or write.field_validation == "Ignore":
            return
        told = [f'unknown field "{path}"' for path in unknown]
        if write.field_validation == "Strict":
            raise BadRequest(
                f'{resource.kind} in version "{version}" cannot be handled as a {resource.kind}: '
                f"strict decoding error: {', '.join(told)}"
            )
        write.warnings.extend(told)

    async def _admitted(self, review: Review, write: Write) -> Obj:
        """The object as webhooks left it, complete again and valid."""
        if await self._admission.mutate(review, write.warnings):
            assert review.object is not None
            self.rules.decode(review.resource, review.version, review.object)
            self.rules.complete(review.resource, review.version, review.object, review.old)
        obj = review.object
        assert obj is not None
        causes = self.rules.causes(review.resource, review.version, obj, review.old)
        if causes:
            name = obj["metadata"].get("name", obj["metadata"].get("generateName", ""))
            raise Invalid(review.resource, name, causes)
        await self._admission.validate(review, write.warnings)
        return obj


def _drop_status(resource: Resource, obj: Obj) -> None:
    """A new object has no status but what a kubelet says of its node."""
    if resource.has_status and resource.key != ("", "nodes"):
        obj.pop("status", None)


def _keep_other_part(resource: Resource, old: Obj, obj: Obj, subresource: str) -> Obj:
    """What webhooks and rules see: the part that this write does not touch is the stored one."""
    if subresource == "status":
        metadata = {**old["metadata"]}
        for name in ("resourceVersion", "uid", "managedFields"):
            if name in obj["metadata"]:
                metadata[name] = obj["metadata"][name]
        kept = {**old, "apiVersion": obj["apiVersion"], "metadata": metadata}
        kept.pop("status", None)
        return {**kept, "status": obj["status"]} if "status" in obj else kept
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "generation"):
        if name in old["metadata"]:
            obj["metadata"].setdefault(name, old["metadata"][name])
    if resource.has_status:
        obj.pop("status", None)
        if "status" in old:
            obj["status"] = old["status"]
    return obj


def _stored(resource: Resource, obj: Obj) -> Obj:
    """The object in the version that is stored; versions differ in their name alone."""
    return {**obj, "apiVersion": resource.api_version}
