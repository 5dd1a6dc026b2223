"""The container image of the workload: one program, used as application and as helper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import toolchain
from harness.cluster.model import Bind, Image

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PROGRAM", "REFERENCE", "build", "image"]

REFERENCE = "meshmark.dev/workload:0.1.0"
"""Name of the image in manifests."""

PROGRAM = "/usr/local/bin/meshmark-workload"
"""Where the program is inside the image."""

_PACKAGE = "meshmark-workload"
_USER = 1000


def build() -> Image:
    """
    Build the program where it is out of date, and return its image.

    Raises:
        EnvironmentLacks: there is no usable Rust.
        UsageError: the program does not compile.

    """
    return image(toolchain.build(_PACKAGE)[_PACKAGE])


def image(binary: Path) -> Image:
    """Make the image of a program that was built before."""
    binds = [Bind(binary, PROGRAM)]
    return Image(reference=REFERENCE, binds=binds, entrypoint=[PROGRAM], user=_USER)
