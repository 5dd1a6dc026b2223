"""
The injector: puts the sidecar into pods as they are created.

`inject` decides and makes the patch, purely; `main` serves it as a mutating webhook. The CLI uses
`inject` directly for `refmesh inject --manual`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane.injector.injection import Injection, inject

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Injection", "inject", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the webhook until the process is told to end; returns its exit code."""
    from reference_mesh.control_plane.injector.server import run  # noqa: PLC0415 - only servers pay

    return run(argv)
