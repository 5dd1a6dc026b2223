"""Watches over HTTP: one line of JSON per event, the bytes shared by all watchers."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec

from harness.cluster.embedded.status import BadRequest, Expired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.partial import MetadataOnly
    from harness.cluster.embedded.api.tables import Renderer
    from harness.cluster.embedded.selectors import Selector
    from harness.cluster.embedded.store import Store
    from harness.cluster.embedded.watches import Change, Subscription

    View = Renderer | MetadataOnly

__all__ = ["watch_stream"]

_BOOKMARK_EVERY_S = 60.0


async def watch_stream(
    store: Store, ask: Ask, chosen: Selector, view: View | None
) -> AsyncIterator[bytes]:
    """
    The events that a request asks for, until its time is over or its kind is no longer served.

    A version that is too old ends it with an ERROR event of code 410 and not with that HTTP code:
    clients in the field handle only the event.
    """
    kind = ask.place.resource.key
    bookmarks = ask.query.get("allowWatchBookmarks") == "true"
    deadline_s = asyncio.get_running_loop().time() + _timeout_s(ask)
    try:
        subscription = store.subscribe(kind, chosen, _version(ask))
    except (Expired, BadRequest) as error:
        yield _line("ERROR", error.status())
        return
    try:
        while True:
            taken = await _take(subscription, deadline_s, bookmarks=bookmarks)
            if taken is None:
                return
            if taken:
                yield b"".join(_lines(ask, view, taken))
            elif bookmarks:
                yield _bookmark(store, ask)
    except Expired as error:
        yield _line("ERROR", error.status())
    finally:
        store.unsubscribe(kind, subscription)


async def _take(
    subscription: Subscription, deadline_s: float, *, bookmarks: bool
) -> list[tuple[str, Change]] | None:
    """What came; empty when a bookmark is due; None at the end."""
    due_s = asyncio.get_running_loop().time() + _BOOKMARK_EVERY_S
    until_s = min(deadline_s, due_s) if bookmarks else deadline_s
    try:
        async with asyncio.timeout_at(until_s):
            return await subscription.take() or None
    except TimeoutError:
        return None if until_s == deadline_s else []


def _lines(ask: Ask, view: View | None, taken: list[tuple[str, Change]]) -> list[bytes]:
    if view is None:
        api_version = ask.place.resource.api_version_of(ask.place.version)
        return [change.line(type_, api_version) for type_, change in taken]
    return [_line(type_, view.single(change.object)) for type_, change in taken]


def _line(type_: str, obj: object) -> bytes:
    return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"


def _bookmark(store: Store, ask: Ask) -> bytes:
    resource = ask.place.resource
    obj = {
        "kind": resource.kind,
        "apiVersion": resource.api_version_of(ask.place.version),
        "metadata": {"resourceVersion": str(store.resource_version), "creationTimestamp": None},
    }
    return _line("BOOKMARK", obj)


def _version(ask: Ask) -> int:
    if ask.query.get("sendInitialEvents") == "true":
        raise BadRequest("sendInitialEvents is not supported by this server: list, then watch")
    text = ask.query.get("resourceVersion") or "0"
    if not text.isdigit():
        raise BadRequest(f'invalid resourceVersion "{text}": a whole number')
    return int(text)


def _timeout_s(ask: Ask) -> float:
    text = ask.query.get("timeoutSeconds") or ""
    if text.isdigit() and int(text):
        return float(text)
    # As Kubernetes: between half an hour and an hour, so that watches do not all end at once.
    return 1800.0 * (1.0 + random.random())  # noqa: S311
