"""The ways that traffic can take through a mesh, so that a check tries each half of it alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suites.conformance.conftest import World
    from suites.member import Member

__all__ = ["Way", "ways"]


@dataclasses.dataclass(frozen=True)
class Way:
    """Who calls whom."""

    name: str
    caller: Member
    server: Member


def ways(world: World) -> tuple[Way, Way, Way]:
    """Through both sidecars, only through the server's, and only through the caller's."""
    return (
        Way("between members", world.client, world.server),
        Way("from no member", world.outsider, world.server),
        Way("to no member", world.client, world.plain),
    )
