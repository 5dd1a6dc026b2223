"""Defects of the component that says who may call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.proto.gen import inbound_pb2

__all__ = ["DEFECTS"]


def _open_below_probes() -> None:
    """What is below a probe's path is as open as the probe."""
    from reference_mesh.control_plane.policy import inbound  # noqa: PLC0415

    routes_of = inbound.default_routes

    def default_routes(
        probe_paths: Sequence[str], settings: Settings
    ) -> list[inbound_pb2.HttpRoute]:
        everything, *probes = routes_of(probe_paths, settings)
        for probe in probes:
            for match in probe.rules[0].matches:
                match.path.prefix = match.path.exact
        return [everything, *probes]

    inbound.default_routes = default_routes


def _no_probes() -> None:
    """The probes that a pod declares are refused like everybody."""
    from reference_mesh.control_plane.policy import inbound  # noqa: PLC0415

    routes_of = inbound.default_routes

    def default_routes(
        probe_paths: Sequence[str], settings: Settings
    ) -> list[inbound_pb2.HttpRoute]:
        return routes_of(probe_paths[:0], settings)

    inbound.default_routes = default_routes


DEFECTS: dict[str, Callable[[], None]] = {
    "opens-below-probes": _open_below_probes,
    "refuses-probes": _no_probes,
}
