"""Endpoint discovery and profiles; the process serves policy and the validating webhook, too."""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the destination component; returns the exit code of the process."""
    from reference_mesh.control_plane.destination.process import run  # noqa: PLC0415

    return run(arguments)
