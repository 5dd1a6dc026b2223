"""The verbs on stored objects: get, list, watch, create, update, patch and the two deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import StreamingResponse

from harness.cluster.embedded.api import asks, partial, patches, tables
from harness.cluster.embedded.api.answers import json_answer, success
from harness.cluster.embedded.api.fields import require_selectable
from harness.cluster.embedded.api.operations import Write
from harness.cluster.embedded.api.watching import watch_stream
from harness.cluster.embedded.selectors import selector
from harness.cluster.embedded.status import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
)
from harness.cluster.embedded.store import copied

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.operations import Operations
    from harness.cluster.embedded.selectors import Selector
    from harness.cluster.embedded.store import Deleted, Obj, Store

__all__ = ["Objects", "write_of"]

_WRITTEN_PARTS = ("", "status", "finalize")


class Objects:
    """Answers requests for objects, collections and their `status`."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations

    async def answer(self, ask: Ask) -> Response:
        """Do what is asked. Raises ApiError for every refusal."""
        place = ask.place
        if place.subresource not in _WRITTEN_PARTS or place.rest:
            raise NotFound
        by_method = self._on_object if place.name else self._on_collection
        handler = by_method.get(ask.request.method)
        if handler is None:
            raise MethodNotAllowed
        return await handler(self, ask)

    async def _get(self, ask: Ask) -> Response:
        if _watches(ask):
            return self._watch(ask, self._selector(ask))
        place = ask.place
        obj = self._store.peek(place.resource.key, place.namespace, place.name)
        return self._shown(ask, obj)

    async def _list(self, ask: Ask) -> Response:
        if "list" not in ask.place.resource.verbs:
            raise MethodNotAllowed
        chosen = self._selector(ask)
        if _watches(ask):
            return self._watch(ask, chosen)
        if ask.query.get("resourceVersionMatch") == "Exact":
            raise NotImplementedHere(
                "lists of the past are not supported by this server: leave out "
                "resourceVersionMatch=Exact"
            )
        resource = ask.place.resource
        items = self._store.scan(resource.key, chosen)
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.resource_version)}
        items, metadata = _page(ask, items, metadata)
        api_version = resource.api_version_of(ask.place.version)
        view = self._view(ask)
        if view is not None:
            return json_answer(view.listed(items, metadata), warnings=ask.warnings)
        if resource.custom:
            items = [{**item, "apiVersion": api_version} for item in items]
        content = {
            "kind": f"{resource.kind}List",
            "apiVersion": api_version,
            "metadata": metadata,
            "items": items,
        }
        return json_answer(content, warnings=ask.warnings)

    def _watch(self, ask: Ask, chosen: Selector) -> Response:
        stream = watch_stream(self._store, ask, chosen, self._view(ask))
        return StreamingResponse(stream, media_type="application/json")

    def _view(self, ask: Ask) -> tables.Renderer | partial.MetadataOnly | None:
        """How the client wants to see objects, where that is not as they are."""
        if tables.wanted(ask.request):
            return tables.Renderer(self._operations.rules.customs, ask)
        return partial.MetadataOnly() if partial.wanted(ask.request) else None

    def _selector(self, ask: Ask) -> Selector:
        fields = ask.query.get("fieldSelector")
        if ask.place.name:
            fields = f"metadata.name={ask.place.name}"
        require_selectable(ask.place.resource, fields)
        return selector(ask.place.namespace or None, ask.query.get("labelSelector"), fields)

    async def _create(self, ask: Ask) -> Response:
        obj = await asks.body_object(ask.request)
        _placed(ask, obj)
        write = write_of(ask)
        created = await self._operations.create(ask.place.resource.key, obj, write)
        return self._shown(ask, created, 201)

    async def _update(self, ask: Ask) -> Response:
        obj = await asks.body_object(ask.request)
        _placed(ask, obj)
        place = ask.place
        subresource = "" if place.subresource == "finalize" else place.subresource
        updated = await self._operations.update(
            place.resource.key, obj, write_of(ask), subresource=subresource
        )
        return self._shown(ask, updated)

    async def _patch(self, ask: Ask) -> Response:
        place = ask.place
        kinds = self._operations.rules.list_kinds(place.resource, place.version)
        change = await patches.change_of(ask, kinds)
        write = write_of(ask)
        write.applies = patches.is_apply(ask)
        try:
            return self._shown(ask, await self._modified(ask, change, write))
        except NotFound as error:
            absent = error.resource is place.resource and error.name == place.name
            if not (write.applies and absent) or place.subresource:
                raise
        created = await self._operations.create(place.resource.key, change({}), write)
        return self._shown(ask, created, 201)

    async def _modified(self, ask: Ask, change: Callable[[Obj], Obj], write: Write) -> Obj:
        place = ask.place
        return await self._operations.modify(
            place.resource.key,
            place.namespace,
            place.name,
            _in_version(ask, change),
            write,
            subresource="" if place.subresource == "finalize" else place.subresource,
        )

    async def _delete(self, ask: Ask) -> Response:
        options = await asks.delete_options(ask.request)
        deleted = await self._deleted(ask, ask.place.name, options)
        if not deleted.gone:
            return self._shown(ask, deleted.object)
        resource = ask.place.resource
        details = {
            "name": ask.place.name,
            "kind": resource.plural,
            "uid": deleted.object["metadata"]["uid"],
        }
        if resource.group:
            details["group"] = resource.group
        return json_answer(success(details), warnings=ask.warnings)

    async def _delete_collection(self, ask: Ask) -> Response:
        options = await asks.delete_options(ask.request)
        resource = ask.place.resource
        if resource.namespaced and not ask.place.namespace:
            raise MethodNotAllowed
        items = self._store.scan(resource.key, self._selector(ask))
        for item in items:
            try:
                await self._deleted(ask, item["metadata"]["name"], options)
            except NotFound:
                continue  # Went with its owner.
        content = {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version_of(ask.place.version),
            "metadata": {"resourceVersion": str(self._store.resource_version)},
            "items": [copied(item) for item in items],
        }
        return json_answer(content, warnings=ask.warnings)

    async def _deleted(self, ask: Ask, name: str, options: Obj) -> Deleted:
        place = ask.place
        return await self._operations.delete(
            place.resource.key, place.namespace, name, options, write_of(ask)
        )

    def _shown(self, ask: Ask, obj: Obj, code: int = 200) -> Response:
        view = self._view(ask)
        if view is not None:
            return json_answer(view.single(obj), code, warnings=ask.warnings)
        api_version = ask.place.resource.api_version_of(ask.place.version)
        return json_answer({**obj, "apiVersion": api_version}, code, warnings=ask.warnings)

    _on_object: ClassVar[dict[str, Callable[[Objects, Ask], Awaitable[Response]]]] = {
        "GET": _get,
        "PUT": _update,
        "PATCH": _patch,
        "DELETE": _delete,
    }
    _on_collection: ClassVar[dict[str, Callable[[Objects, Ask], Awaitable[Response]]]] = {
        "GET": _list,
        "POST": _create,
        "DELETE": _delete_collection,
    }


def write_of(ask: Ask) -> Write:
    """How the request wants its write to be done."""
    return Write(
        user=ask.user,
        manager=ask.field_manager,
        version=ask.place.version,
        dry_run=ask.dry_run,
        field_validation=ask.field_validation,
        warnings=ask.warnings,
    )


def _watches(ask: Ask) -> bool:
    return ask.query.get("watch") in {"true", "1"}


def _placed(ask: Ask, obj: Obj) -> None:
    """Check that the object is the one that the URL names, and complete it from there."""
    place = ask.place
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    if place.namespace and metadata.setdefault("namespace", place.namespace) != place.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if place.name and metadata.setdefault("name", place.name) != place.name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({place.name})"
        )


def _in_version(ask: Ask, change: Callable[[Obj], Obj]) -> Callable[[Obj], Obj]:
    """The change, shown the object in the version that the request is for."""
    api_version = ask.place.resource.api_version_of(ask.place.version)
    return lambda obj: change({**obj, "apiVersion": api_version})


def _page(ask: Ask, items: list[Obj], metadata: Obj) -> tuple[list[Obj], Obj]:
    """The part of a list that `limit` and `continue` ask for: by place, not by snapshot."""
    start = ask.query.get("continue", "0")
    limit = ask.query.get("limit") or "0"
    if not start.isdigit() or not limit.isdigit():
        raise BadRequest("continue key is not valid")
    first, size = int(start), int(limit) or len(items)
    left = len(items) - first - size
    if left > 0:
        metadata = {**metadata, "continue": str(first + size), "remainingItemCount": left}
    return items[first : first + size], metadata
