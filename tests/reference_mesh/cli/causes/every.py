"""All causes there are."""

from __future__ import annotations

from tests.reference_mesh.cli.causes import before, certificates, control_plane, data_plane

__all__ = ["BEFORE", "CAUSES"]

CAUSES = [*control_plane.CAUSES, *certificates.CAUSES, *data_plane.CAUSES]
BEFORE = before.CAUSES
"""With the mesh not installed, and PRE."""
