"""Whether the node image in Docker is the one that would be built now."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from harness.cluster.images import archive, debian, layers
from harness.cluster.kind import go
from harness.cluster.kind.program import docker
from harness.errors import ClusterError

__all__ = ["LABEL", "is_current", "made_of"]

LABEL = "dev.meshmark.made-of"
"""On the image, with what `made_of` said when it was built."""

_CLUSTER = Path(__file__).parents[2]
_NO_MAKERS = {"__init__.py", "freshness.py"}
"""What chooses among images decides on the content of none."""


def is_current(tag: str) -> bool:
    """Whether Docker has the image that a build would make now."""
    return _label(tag) == made_of()


def made_of() -> str:
    """A hash of what decides on the content: files of ours, the mirror, and the machine's kind."""
    mirror = os.environ.get(debian.MIRROR_VARIABLE, "")
    digest = hashlib.sha256(f"{mirror}\0{platform.machine()}".encode())
    for path in _makers():
        digest.update(f"\0{path.relative_to(_CLUSTER)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _makers() -> list[Path]:
    """The files of this package, and of the modules that it makes programs and images with."""
    here = Path(__file__).parent
    ours = (path for path in here.rglob("*") if "__pycache__" not in path.parts)
    makers = (path for path in ours if path.parent != here or path.name not in _NO_MAKERS)
    others = (Path(str(module.__file__)) for module in (debian, archive, layers, go))
    return sorted(path for path in (*makers, *others) if path.is_file())


def _label(tag: str) -> str:
    try:
        shape = f'{{{{index .Config.Labels "{LABEL}"}}}}'
        return docker("image", "inspect", "--format", shape, tag).strip()
    except ClusterError:  # there is none
        return ""
