"""
The certificate authority of the mesh: a pod's token in, a short-lived certificate out.

A proxy that is refused waits 10 s before it asks again, so a call that cannot be answered yet (no
usable issuer, an API server that is away) is held instead, up to a bound.
"""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the identity component; returns the exit code of the process."""
    from reference_mesh.control_plane.identity.process import run  # noqa: PLC0415

    return run(arguments)
