"""
The four patch types, each told by its Content-Type.

A strategic merge patch of a custom resource is refused with 415, as Kubernetes does: clients then
fall back to a merge patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster.embedded.api import asks, jsonpatch, managed, strategic
from harness.cluster.embedded.status import BadRequest, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.lists import ListKinds
    from harness.cluster.embedded.store import Obj

__all__ = ["APPLY", "change_of", "is_apply"]

APPLY = ("application/apply-patch+yaml", "application/apply-patch+json")
_JSON = "application/json-patch+json"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


def is_apply(ask: Ask) -> bool:
    """Whether the request is a server-side apply, which may create the object."""
    return asks.media_type(ask.request) in APPLY


async def change_of(ask: Ask, kinds: ListKinds) -> Callable[[Obj], Obj]:
    """
    What the request's patch does to an object; `{}` stands for one that is not there.

    Raises:
        BadRequest: the patch is malformed, or an apply names no field manager.
        UnsupportedMediaType: it is of none of the types that this kind takes.

    """
    type_ = asks.media_type(ask.request)
    accepted = [_JSON, _MERGE, APPLY[0]]
    if not ask.place.resource.custom:
        accepted.append(_STRATEGIC)
    if type_ not in {*accepted, APPLY[1]}:
        raise UnsupportedMediaType(
            f'the body of the request was in an unknown format - "{type_}"; accepted media types '
            f"include: {', '.join(accepted)}"
        )
    body = await asks.limited_body(ask.request)
    if type_ in APPLY:
        return _apply(ask, asks.parsed(body, yaml=not body.lstrip().startswith(b"{")), kinds)
    patch = _decoded(body)

    def change(obj: Obj) -> Obj:
        if type_ == _JSON:
            outcome = jsonpatch.applied(obj, patch)
        elif type_ == _MERGE:
            outcome = jsonpatch.merged(obj, patch)
        else:
            outcome = strategic.patched(kinds, obj, patch)
        if not isinstance(outcome, dict) or not isinstance(outcome.get("metadata"), dict):
            raise BadRequest("the patch leaves no object")
        return outcome

    return change


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the patch cannot be parsed: {error}") from error


def _apply(ask: Ask, patch: Obj, kinds: ListKinds) -> Callable[[Obj], Obj]:
    manager = ask.query.get("fieldManager")
    if not manager:
        raise BadRequest("PatchOptions.fieldManager: Required value: is required for apply patch")
    place = ask.place
    expected = (place.resource.api_version_of(place.version), place.resource.kind)
    if (patch.get("apiVersion"), patch.get("kind")) != expected:
        raise BadRequest(
            f"the applied configuration is {patch.get('apiVersion')} {patch.get('kind')}, but the "
            f"request is for {expected[0]} {expected[1]}"
        )
    metadata = patch.setdefault("metadata", {})
    if not isinstance(metadata, dict) or metadata.get("name", place.name) != place.name:
        raise BadRequest(
            f"the name of the applied configuration is not {place.name!r}, as in the URL"
        )
    force = ask.query.get("force") == "true"

    def change(obj: Obj) -> Obj:
        outcome = managed.applied(
            kinds, obj, patch, manager=manager, force=force, subresource=place.subresource
        )
        outcome["metadata"]["name"] = place.name
        if place.namespace:
            outcome["metadata"]["namespace"] = place.namespace
        return outcome

    return change
