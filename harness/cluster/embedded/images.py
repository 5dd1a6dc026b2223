"""The images that the node knows: files of the machine and a command, by reference."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.embedded.status import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cluster.embedded.api.node import Image

__all__ = ["Images"]

_HIDDEN = ("/dev", "/etc", "/proc", "/sys")
"""Where the container's own files are; an image that binds there would break the container."""


class Images:
    """References to images; loading the same reference again replaces what it means."""

    def __init__(self) -> None:
        self._by_reference: dict[str, Image] = {}
        self._loaded = asyncio.Event()

    def load(self, images: Sequence[Image]) -> None:
        """
        Take images, all or none.

        Raises:
            BadRequest: a source does not exist, or is a folder closed to the image's user, as with
                a umask of 077; or a target is not a usable absolute path.

        """
        for image in images:
            for bind in image.binds:
                source = Path(bind.source)
                if not source.exists():
                    raise BadRequest(f"image {image.reference}: {source} does not exist")
                if image.user and source.is_dir() and source.stat().st_mode & 0o005 != 0o005:
                    raise BadRequest(
                        f"image {image.reference}: {source} is closed to other users, and its pods "
                        f"run as one: open it for reading with `chmod -R a+rX {source}`"
                    )
                top = "/" + bind.target.strip("/").partition("/")[0]
                if (
                    not bind.target.startswith("/")
                    or top in {"/", *_HIDDEN}
                    or (".." in Path(bind.target).parts)
                ):
                    raise BadRequest(
                        f"image {image.reference}: cannot bind at {bind.target!r}: the target "
                        f"must be an absolute path outside of {', '.join(_HIDDEN)}"
                    )
        self._by_reference |= {image.reference: image for image in images}
        self._loaded.set()
        self._loaded = asyncio.Event()

    def get(self, reference: str) -> Image | None:
        """The image, if it was loaded."""
        return self._by_reference.get(reference)

    def next_load(self) -> asyncio.Event:
        """Set by the next `load`, whatever it brings; nothing may be awaited since the look."""
        return self._loaded

    def missing(self, reference: str) -> str:
        """What to tell who asks for an image that is not there."""
        known = ", ".join(sorted(self._by_reference)) or "none"
        return (
            f'image "{reference}" is not loaded, and this cluster has no registry to pull from: '
            f"use one that is loaded ({known}), or load it with `Cluster.load_images` of Python"
        )
