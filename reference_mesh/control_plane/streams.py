"""How a view becomes the messages of one stream."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import grpc
import grpc.aio

from reference_mesh.control_plane.fanout import Closed
from reference_mesh.control_plane.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable

    from reference_mesh.control_plane.fanout import View, Views
    from reference_mesh.control_plane.snapshot import Reader

__all__ = ["SYNC_BOUND_S", "encoded", "known_soon", "once", "refuse", "until_synced"]

SYNC_BOUND_S = 2.5
"""How long a call waits for the first listing. A proxy gives up on a silent stream after 3 s."""

V = TypeVar("V")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def refuse(context: Context, refusal: Refusal) -> NoReturn:
    """End the call with this status."""
    await context.abort(refusal.code, refusal.why)
    raise AssertionError("abort raises")


async def until_synced(synced: Callable[[], Awaitable[None]], context: Context) -> None:
    """Return once the snapshot is whole; before that, no object's absence means anything."""
    try:
        async with asyncio.timeout(SYNC_BOUND_S):
            await synced()
    except TimeoutError:
        await refuse(
            context, Refusal(grpc.StatusCode.UNAVAILABLE, "the Kubernetes API is not answering")
        )


async def known_soon(view: View[V | Refusal], patience_s: float) -> V | Refusal:
    """The view's value, after a short wait if its object is not known yet."""
    try:
        async with asyncio.timeout(patience_s):
            while isinstance(view.value, Refusal) and view.value.code is grpc.StatusCode.NOT_FOUND:
                await view.after(view.generation)
    except TimeoutError:
        pass
    return view.value


async def encoded(
    views: Views,
    key: Hashable,
    compile_view: Callable[[Reader], bytes | Refusal],
    context: Context,
    *,
    patience_s: float = 0.0,
) -> AsyncGenerator[bytes]:
    """Every newest value of a view of bytes, until it is refused or the process ends."""
    try:
        with views.watching(key, compile_view) as view:
            value = await known_soon(view, patience_s) if patience_s else view.value
            while True:
                if isinstance(value, Refusal):
                    await refuse(context, value)
                generation = view.generation
                yield value
                value = await view.after(generation)
    except Closed:
        return


async def once(
    views: Views,
    key: Hashable,
    compile_view: Callable[[Reader], bytes | Refusal],
    context: Context,
    *,
    patience_s: float = 0.0,
) -> bytes:
    """The present value of a view of bytes."""
    stream = encoded(views, key, compile_view, context, patience_s=patience_s)
    async with contextlib.aclosing(stream):
        async for value in stream:
            return value
    return await refuse(context, Refusal(grpc.StatusCode.UNAVAILABLE, "the process ends"))
