"""
Real container images of what the embedded engine shows as files of this machine.

`archived` makes one as an archive that `docker load`, `kind load image-archive`, `podman load` and
`ctr images import` take. No Docker is needed to make it, and the same content has the same id.
"""

from __future__ import annotations

from harness.cluster.images.archive import Archive, archived

__all__ = ["Archive", "archived"]
