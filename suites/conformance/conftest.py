"""Workloads that most checks share: these change nothing, so they need none of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

from harness import mesh as meshes
from harness.errors import EnvironmentLacks
from harness.mesh.protocol import Feature, MeshOptions
from suites.conftest import build, pack
from suites.lanes import Lanes
from suites.stock_grpc import peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.plugin import Check, Options
    from harness.record.catalogue import Lane
    from suites.lab import Lab, Space
    from suites.member import Member


_UPGRADES = ("cp-10", "cp-13")


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
    with Lanes("world", lambda lane: _world(lab_of(lane))) as worlds:
        yield worlds.of


@pytest.fixture
def world(check: Check, lab: Lab, world_of: Callable[[Lane], World]) -> World:
    """The world of this check's lane, in a lab that still answers."""
    with check.phase("arrange"):
        return world_of(check.entry.lane)


@pytest.hookimpl(trylast=True)
def pytest_meshmark_prepare(
    config: pytest.Config, options: Options, progress: Callable[[str], None]
) -> None:
    """Pack the stock peers, and build what upgrades start from where one may be selected."""
    pack(options, [peers.image()], progress)
    driver = meshes.driver(options.mesh)
    words = re.findall(r"[\w-]+", options.selection.lower())
    wanted = not words or any(word in check_id for word in words for check_id in _UPGRADES)
    if wanted and Feature.UPGRADE in driver.features():
        progress(f"building the mesh of {options.previous}, to upgrade from")
        with contextlib.suppress(EnvironmentLacks):  # the checks will say it
            build(options, MeshOptions(build=options.previous), progress=progress)


@pytest.fixture
def previous(check: Check, lab: Lab, run_options: Options) -> MeshOptions:
    """The lab's options with the build before this one, whose images the cluster has."""
    options = MeshOptions(
        leaf_lifetime_s=lab.options.leaf_lifetime_s,
        proxy_binary=lab.options.proxy_binary,
        build=run_options.previous,
    )
    with check.phase("arrange"):
        try:
            lab.cluster.load_images(lab.mesh.images(options))
        except EnvironmentLacks as lacking:
            pytest.skip(str(lacking))
    if options.proxy_binary:
        told = f"both builds run {options.proxy_binary}: only the rest of the mesh differs"
        check.evidence("sidecars", told)
    return options


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
