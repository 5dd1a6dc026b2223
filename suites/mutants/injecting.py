"""Defects of the component that gives pods their sidecars."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFECTS"]


def _plain_sidecar() -> None:
    """The sidecar is a container among others: it starts and stops together with them."""
    from reference_mesh.control_plane.injector import containers, injection  # noqa: PLC0415

    add = injection.add_sidecar

    def add_sidecar(
        pod: Mapping[str, Any], sidecar: containers.Sidecar, **more: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        of_natives = {"restartPolicy", "startupProbe"}
        proxy = {key: value for key, value in sidecar.proxy.items() if key not in of_natives}
        return add(pod, dataclasses.replace(sidecar, proxy=proxy, native=False), **more)

    injection.add_sidecar = add_sidecar


def _no_grace() -> None:
    """A pod with a sidecar is killed as soon as it is deleted."""
    from reference_mesh.control_plane.injector import containers, injection  # noqa: PLC0415

    add = injection.add_sidecar

    def add_sidecar(
        pod: Mapping[str, Any], sidecar: containers.Sidecar, **more: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        at_once = {"op": "add", "path": "/spec/terminationGracePeriodSeconds", "value": 0}
        return [*add(pod, sidecar, **more), at_once]

    injection.add_sidecar = add_sidecar


DEFECTS: dict[str, Callable[[], None]] = {"plain-sidecar": _plain_sidecar, "no-grace": _no_grace}
