"""
All objects of an embedded cluster, in memory, with the semantics of the Kubernetes API machinery.

One counter numbers every write of every kind. Each kind keeps its last changes, so that a watch
can start in the past. Everything here is synchronous and belongs to one asyncio thread: the API
server, the controllers and the node agent call it directly, and no call can be half done.

What a client may write is not decided here: defaulting, validation and admission webhooks are the
business of `api.operations`, through which controllers create the objects that users may see.
"""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.cluster.embedded import mutations
from harness.cluster.embedded.kinds import BUILT_IN
from harness.cluster.embedded.mutations import Obj, copied, timestamp
from harness.cluster.embedded.resources import Registry
from harness.cluster.embedded.selectors import Selector, selector
from harness.cluster.embedded.status import (
    AlreadyExists,
    BadRequest,
    Cause,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
)
from harness.cluster.embedded.watches import Change, Subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from harness.cluster.embedded.resources import Key, Resource

__all__ = ["Deleted", "Obj", "Objs", "Store", "copied", "timestamp"]

Objs = list[Obj]

_REQUIRED = "FieldValueRequired"

_KEPT_CHANGES = 1024
"""Per kind; a watch from further back gets 410 and lists again."""

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Of generated names: as in Kubernetes, nothing that could spell a word."""


class Deleted(NamedTuple):
    """What a delete did: the last state, and whether the object is gone or only terminating."""

    object: Obj
    gone: bool


@dataclass(slots=True)
class _Shelf:
    """The objects of one kind and their latest changes."""

    objects: dict[tuple[str, str], Obj] = field(default_factory=dict)
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_KEPT_CHANGES))
    forgotten: int = 0
    """Version of the newest change that is no longer kept."""
    watchers: set[Subscription] = field(default_factory=set)


class Store:
    """
    Objects by kind, namespace and name.

    `get`, `list` and `watch` hand out copies, which the caller may change and write back.
    `peek`, `scan` and what listeners get are the stored objects themselves: read only.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or Registry(BUILT_IN)
        self.resource_version = 1
        self._shelves: dict[Key, _Shelf] = {}
        self._uids: dict[str, tuple[Key, str, str]] = {}
        self._listeners: list[Callable[[Resource, Change], None]] = []

    # Reading

    def get(self, kind: Key, namespace: str | None, name: str) -> Obj:
        """One object. Raises NotFound."""
        return copied(self.peek(kind, namespace, name))

    def peek(self, kind: Key, namespace: str | None, name: str) -> Obj:
        """One stored object, which must not be modified. Raises NotFound."""
        resource = self.registry[kind]
        obj = self._shelf(kind).objects.get((namespace or "", name))
        if obj is None:
            raise NotFound(resource, name)
        return obj

    def has_uid(self, uid: str) -> bool:
        """Whether an object of any kind has this uid."""
        return uid in self._uids

    def located(self, uid: str) -> tuple[Key, str, str] | None:
        """Kind, namespace and name of the object of this uid."""
        return self._uids.get(uid)

    def list(
        self,
        kind: Key,
        namespace: str | None = None,
        labels: Any = None,
        fields: Any = None,
    ) -> tuple[Objs, int]:
        """The selected objects by namespace and name, and the version to watch from."""
        chosen = self.scan(kind, selector(namespace, labels, fields))
        return [copied(obj) for obj in chosen], self.resource_version

    def scan(self, kind: Key, chosen: Selector | None = None) -> Objs:
        """The selected stored objects by namespace and name; none of them may be modified."""
        _ = self.registry[kind]
        objects = sorted(self._shelf(kind).objects.items())
        return [obj for _, obj in objects if chosen is None or chosen.matches(obj)]

    def everything(self) -> Iterator[tuple[Resource, Obj]]:
        """Every stored object of every kind; none may be modified."""
        for resource in self.registry:
            for obj in list(self._shelf(resource.key).objects.values()):
                yield resource, obj

    # Watching

    async def watch(
        self,
        kind: Key,
        namespace: str | None = None,
        labels: Any = None,
        fields: Any = None,
        resource_version: int | None = None,
    ) -> AsyncIterator[tuple[str, Obj]]:
        """
        Events (ADDED, MODIFIED, DELETED) with a copy of the object each, without end.

        resource_version: as `list` returned it; None or 0 gives the present state as ADDED first.

        Raises:
            Expired: when that version is too far back, or the caller was too slow: list again.

        """
        chosen = selector(namespace, labels, fields)
        subscription = self.subscribe(kind, chosen, resource_version)
        try:
            while taken := await subscription.take():
                for type_, change in taken:
                    yield type_, copied(change.object)
        finally:
            self.unsubscribe(kind, subscription)

    def subscribe(
        self, kind: Key, chosen: Selector, resource_version: int | None = None
    ) -> Subscription:
        """A queue of shared changes, to be given back by `unsubscribe`. Raises Expired."""
        _ = self.registry[kind]
        shelf = self._shelf(kind)
        if not resource_version:
            first = [
                ("ADDED", Change("ADDED", obj, None, self.resource_version))
                for obj in self.scan(kind, chosen)
            ]
        elif resource_version < shelf.forgotten or resource_version > self.resource_version:
            # A version of the future is one of an earlier life of this server.
            raise Expired(f"too old resource version: {resource_version} ({shelf.forgotten})")
        else:
            missed = [
                change for change in shelf.changes if change.resource_version > resource_version
            ]
            seen = [(change.seen_by(chosen), change) for change in missed]
            first = [(type_, change) for type_, change in seen if type_ is not None]
        subscription = Subscription(chosen, first)
        shelf.watchers.add(subscription)
        return subscription

    def unsubscribe(self, kind: Key, subscription: Subscription) -> None:
        """Stop queueing for this watcher."""
        self._shelf(kind).watchers.discard(subscription)

    def end_watches(self, kind: Key | None = None) -> None:
        """End the streams of all watchers, or of one kind's: it is no longer served."""
        for key, shelf in self._shelves.items():
            if kind in {None, key}:
                for watcher in shelf.watchers:
                    watcher.end()

    def listen(self, listener: Callable[[Resource, Change], None]) -> None:
        """Call `listener` right after each write; it may write in turn."""
        self._listeners.append(listener)

    # Writing

    def create(self, kind: Key, obj: Obj, *, dry_run: bool = False) -> Obj:
        """
        Store a new object and return it with what the server adds.

        Raises:
            AlreadyExists: there is one of that name.
            NotFound: its namespace does not exist.
            Forbidden: its namespace is being deleted.
            Invalid, BadRequest: it has no name, or a resourceVersion.

        """
        resource = self.registry[kind]
        new = self._prepared(resource, obj)
        metadata = new["metadata"]
        place = (metadata.get("namespace", ""), metadata["name"])
        if place in self._shelf(kind).objects:
            raise AlreadyExists(resource, metadata["name"])
        self.require_place(resource, metadata)
        if not dry_run:
            self._put(resource, "ADDED", new, None)
        return copied(new)

    def update(
        self, kind: Key, obj: Obj, *, subresource: str | None = None, dry_run: bool = False
    ) -> Obj:
        """
        Replace an object and return what is stored now.

        With `subresource="status"` only `status` is taken, else everything but `status` (where the
        kind has that subresource). A write that changes nothing leaves the version as it is. The
        object goes when this removes the last finalizer of one that is being deleted.

        Raises:
            NotFound: there is none of that name.
            Conflict: it names a uid or a resourceVersion that is not the present one.
            Invalid: it adds finalizers to an object that is being deleted.

        """
        resource = self.registry[kind]
        metadata = obj["metadata"]
        old = self.peek(kind, metadata.get("namespace"), metadata["name"])
        mutations.require_unchanged(resource, old, metadata)
        new = mutations.merged(resource, old, obj, subresource)
        if new == old:
            return copied(old)
        mutations.require_no_new_finalizers(resource, old, new)
        if mutations.without(new, "metadata", "status") != mutations.without(
            old, "metadata", "status"
        ):
            generation = old["metadata"].get("generation")
            if generation is not None:
                new["metadata"]["generation"] = generation + 1
        if dry_run:
            return new
        if mutations.may_go(new):
            self._remove(resource, new)
        else:
            self._put(resource, "MODIFIED", new, old)
        return copied(new)

    def delete(
        self,
        kind: Key,
        namespace: str | None,
        name: str,
        *,
        options: Obj | None = None,
    ) -> Deleted:
        """
        Begin or complete the deletion of an object.

        options: a DeleteOptions object: `gracePeriodSeconds` (pods on a node linger for it, until
            the node agent deletes them with 0), `preconditions`, `dryRun`. The propagation policy
            is the business of `api.ownership`, which turns it into finalizers.

        Raises:
            NotFound: there is none of that name.
            Conflict: the preconditions do not hold.

        """
        options = options or {}
        self.check_preconditions(kind, namespace, name, options)
        resource = self.registry[kind]
        old = self.peek(kind, namespace, name)
        grace_s = mutations.grace_s(resource, old, options.get("gracePeriodSeconds"))
        new = copied(old)
        metadata = new["metadata"]
        if "deletionTimestamp" not in metadata:
            gone_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=grace_s)
            metadata["deletionTimestamp"] = timestamp(gone_at)
            metadata["deletionGracePeriodSeconds"] = grace_s
            if "generation" in metadata:
                metadata["generation"] += 1
        elif grace_s < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionGracePeriodSeconds"] = grace_s
        gone = mutations.may_go(new)
        if options.get("dryRun"):
            return Deleted(new, gone)
        if gone:
            self._remove(resource, new)
        elif new != old:
            self._put(resource, "MODIFIED", new, old)
        return Deleted(copied(new), gone)

    def check_preconditions(
        self, kind: Key, namespace: str | None, name: str, options: Obj
    ) -> None:
        """Check the preconditions of DeleteOptions. Raises NotFound or Conflict."""
        expected = options.get("preconditions") or {}
        mutations.require_unchanged(self.registry[kind], self.peek(kind, namespace, name), expected)

    # Parts of writing

    def _shelf(self, kind: Key) -> _Shelf:
        return self._shelves.setdefault(kind, _Shelf())

    def _prepared(self, resource: Resource, obj: Obj) -> Obj:
        new = copied(obj)
        metadata = new.setdefault("metadata", {})
        if metadata.pop("resourceVersion", None):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        for name in (*mutations.CREATED_HERE, "generation", "selfLink"):
            metadata.pop(name, None)
        if not metadata.get("name"):
            metadata["name"] = self._generated_name(resource, metadata)
            if resource.key == ("", "namespaces"):  # the defaults could not know its name
                labels = metadata["labels"] = metadata.get("labels") or {}
                labels["kubernetes.io/metadata.name"] = metadata["name"]
        if not resource.namespaced:
            metadata.pop("namespace", None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        if resource.custom or "spec" in new:
            metadata["generation"] = 1
        return {"apiVersion": resource.api_version, "kind": resource.kind, **new}

    def _generated_name(self, resource: Resource, metadata: Obj) -> str:
        prefix: str = metadata.get("generateName", "")
        if not prefix:
            cause = Cause(
                "metadata.name", "Required value: name or generateName is required", _REQUIRED
            )
            raise Invalid(resource, "", [cause])
        taken = self._shelf(resource.key).objects
        while True:
            name = prefix[:58] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
            if (metadata.get("namespace", ""), name) not in taken:
                return name

    def require_place(self, resource: Resource, metadata: Obj) -> None:
        """
        Check that something new may be put into the namespace that its metadata name.

        Raises:
            NotFound: the namespace does not exist.
            Forbidden: it is being deleted.
            Invalid: none is named, and the kind is in namespaces.

        """
        if not resource.namespaced:
            return
        name = metadata.get("namespace")
        if not name:
            cause = Cause("metadata.namespace", "Required value", _REQUIRED)
            raise Invalid(resource, metadata.get("name", ""), [cause])
        namespace = self.peek(("", "namespaces"), None, name)
        if "deletionTimestamp" in namespace["metadata"]:
            called = metadata.get("name") or metadata.get("generateName", "")
            raise Forbidden(
                f'{resource.qualified} "{called}" is forbidden: unable to create new '
                f"content in namespace {name} because it is being terminated",
                resource=resource,
                name=called,
                causes=[
                    Cause(
                        "metadata.namespace",
                        f"namespace {name} is being terminated",
                        "NamespaceTerminating",
                    )
                ],
            )

    def _put(self, resource: Resource, type_: str, new: Obj, old: Obj | None) -> None:
        place = self._number(new)
        self._shelf(resource.key).objects[place] = new
        self._uids[new["metadata"]["uid"]] = (resource.key, *place)
        self._tell(resource, Change(type_, new, old, self.resource_version))

    def _remove(self, resource: Resource, last: Obj) -> None:
        place = self._number(last)
        old = self._shelf(resource.key).objects.pop(place)
        self._uids.pop(last["metadata"]["uid"], None)
        self._tell(resource, Change("DELETED", last, old, self.resource_version))

    def _number(self, obj: Obj) -> tuple[str, str]:
        self.resource_version += 1
        obj["metadata"]["resourceVersion"] = str(self.resource_version)
        return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]

    def _tell(self, resource: Resource, change: Change) -> None:
        shelf = self._shelf(resource.key)
        if len(shelf.changes) == _KEPT_CHANGES:
            shelf.forgotten = shelf.changes[0].resource_version
        shelf.changes.append(change)
        for watcher in shelf.watchers:
            watcher.offer(change)
        for listener in self._listeners:
            listener(resource, change)
