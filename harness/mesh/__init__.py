"""Service meshes: what the harness asks of one, and a driver for each that it knows."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.mesh.protocol import Mesh

__all__ = ["CHANGEABLE", "NAMES", "driver"]

NAMES = ("reference", "unmeshed", "envoy")
"""Every mesh that `--mesh` takes."""

CHANGEABLE = ("reference",)
"""Those that can be installed with another proxy, or with a planted defect."""


def driver(name: str) -> Mesh:
    """
    A new driver of the mesh called `name`.

    Raises:
        UsageError: no such mesh; names the near ones.

    """
    if name == "reference":
        from harness.mesh.reference import ReferenceMesh  # noqa: PLC0415 - only the chosen one

        return ReferenceMesh()
    if name == "unmeshed":
        from harness.mesh.unmeshed import Unmeshed  # noqa: PLC0415

        return Unmeshed()
    if name == "envoy":
        from harness.mesh.envoy import EnvoyMesh  # noqa: PLC0415

        return EnvoyMesh()
    near = difflib.get_close_matches(name, NAMES, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"there is no mesh {name!r}.{guess} Known meshes: {', '.join(NAMES)}.")
