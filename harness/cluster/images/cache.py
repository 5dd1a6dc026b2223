"""What was made before, by what it was made from: folders in the invoking user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import toolchain
from harness.cluster import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["archive", "folder", "give", "kept", "scratch"]

_IN_USE_S = 3600.0
"""For so long after it was made or asked for again, an archive may still be read."""


def folder() -> Path:
    """Where it all is: `$XDG_CACHE_HOME/meshmark/images` or `~/.cache/meshmark/images`; made."""
    person = toolchain.invoking_person()
    named = os.environ.get("XDG_CACHE_HOME", "") if person.uid == os.geteuid() else ""
    place = Path(named or person.home / ".cache") / "meshmark" / "images"
    places.make(place)
    return place


def archive(reference: str, digest: str) -> Path:
    """
    Where the archive of an image with this digest is, or is to be put.

    Older ones of the same reference go: those that nobody may still be reading.
    """
    place = folder() / "archives" / re.sub(r"[^a-z0-9.-]+", "-", reference)
    places.make(place)
    path = place / f"{digest}.tar"
    for other in place.glob("*.tar"):
        with contextlib.suppress(FileNotFoundError):
            if other != path and time.time() - other.stat().st_mtime > _IN_USE_S:
                other.unlink()
    return path


def give(path: Path) -> None:
    """Let what root made for the user behind sudo belong to that user."""
    person = toolchain.invoking_person()
    if person.uid != os.geteuid():
        os.chown(path, person.uid, person.gid, follow_symlinks=False)


def kept(name: str, inputs: Sequence[str], make: Callable[[Path], None]) -> Path:
    """
    The folder that `make` filled for these inputs, now or at an earlier call.

    It is there whole or not at all, also when two processes make it at once. What `make` raises
    passes through.
    """
    key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    final = folder() / f"{name}-{key}"
    if final.is_dir():
        return final
    with scratch() as place:
        made = place / "made"
        made.mkdir()
        give(made)
        make(made)
        for path in (made, *made.rglob("*")):
            give(path)
        try:
            made.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    return final


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the cache's file system that is gone after the block."""
    place = Path(tempfile.mkdtemp(prefix=".making-", dir=folder()))
    try:
        give(place)  # what is made in it may be made as that user
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
