"""Workloads that most checks share: these change nothing, so they need none of their own."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.plugin import Check
    from harness.record.catalogue import Lane
    from suites.lab import Lab, Member, Space


@dataclasses.dataclass(frozen=True)
class World:
    """
    One namespace that stays up for a whole lane.

    client, server: members of the mesh, with helpers. outsider: not a member, with a helper.
    plain: a server that is no member.
    """

    space: Space
    client: Member
    server: Member
    outsider: Member
    plain: Member


@pytest.fixture(scope="session")
def world_of(lab_of: Callable[[Lane], Lab]) -> Iterator[Callable[[Lane], World]]:
    """The world of a lane, brought up when first asked for."""
    worlds: dict[Lane, World] = {}
    with contextlib.ExitStack() as open_worlds:

        def world_of(lane: Lane) -> World:
            if lane not in worlds:
                worlds[lane] = open_worlds.enter_context(_world(lab_of(lane)))
            return worlds[lane]

        yield world_of


@pytest.fixture
def world(check: Check, lab: Lab, world_of: Callable[[Lane], World]) -> World:
    """The world of this check's lane, in a lab that still answers."""
    with check.phase("arrange"):
        return world_of(check.entry.lane)


@contextlib.contextmanager
def _world(lab: Lab) -> Iterator[World]:
    with lab.space("world") as space:
        members = {
            name: space.deploy(name, helper=True, meshed=name in {"client", "server"}, wait=False)
            for name in ("client", "server", "outsider", "plain")
        }
        for member in members.values():
            member.ready()
        yield World(space, **members)
