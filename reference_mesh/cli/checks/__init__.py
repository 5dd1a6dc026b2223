"""The checks of `refmesh check`, one module for each group of Linkerd's categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.cli.checks import (
    admission,
    availability,
    before,
    configuration,
    data_plane,
    existence,
    identity,
    reach,
    versions,
    webhooks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reference_mesh.cli.checks.model import Category, Facts

__all__ = ["categories"]


def categories(facts: Facts, *, pre: bool, proxy: bool) -> Iterator[Category]:
    """
    Categories in the order to run them.

    pre: what must hold before an installation. proxy: the pods in the mesh too.
    """
    yield from reach.categories(facts)
    if pre:
        yield from before.categories(facts)
        return
    yield from existence.categories(facts)
    yield from configuration.categories(facts)
    yield from identity.categories(facts, proxy=proxy)
    yield from webhooks.categories(facts)
    yield from admission.categories(facts)
    yield from versions.categories(facts)
    yield from availability.categories(facts)
    if proxy:
        yield from data_plane.categories(facts)
