"""Waiting for the first of several things, and leaving none of the others behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["first_of"]


async def first_of(*works: Awaitable[Any], timeout_s: float | None = None) -> None:
    """
    Wait until one of them has ended, or `timeout_s` is over; the others are cancelled.

    All have ended when this returns, however it does, so that none is left to nobody. What must
    survive is to be shielded by the caller. Raises what those raised that ended by themselves.
    """
    futures = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(
            futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
    for future in done:
        future.result()
