"""
Layers of images: tar files that depend on nothing but the names and contents of their files.

Entries are sorted, belong to root and date from 1970. Of the modes only executability is kept, so
that neither the umask nor who made the files matters.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Layer", "add", "add_bytes", "pack"]


@dataclass(frozen=True, slots=True)
class Layer:
    """
    One layer, ready to be put into archives.

    digest: SHA-256 of the tar, in hex. made_by: what made it, for the image's history.
    """

    path: Path
    digest: str
    made_by: str


def pack(root: Path, target: Path, made_by: str) -> Layer:
    """Write all that is below `root` into a tar at `target`, unless it is there already."""
    if not target.exists():
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(root.rglob("*")):
                _pack_one(tar, path, str(path.relative_to(root)))
        partial.replace(target)
    with target.open("rb") as file:
        return Layer(target, hashlib.file_digest(file, "sha256").hexdigest(), made_by)


def add(tar: tarfile.TarFile, source: Path, name: str, mode: int = 0o644) -> None:
    """Add the content of a file under a name, with nothing else of it."""
    entry = tarfile.TarInfo(name)
    entry.size = source.stat().st_size
    entry.mode = mode
    with source.open("rb") as file:
        tar.addfile(entry, file)


def add_bytes(tar: tarfile.TarFile, content: bytes, name: str) -> None:
    """Add a file with this content."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _pack_one(tar: tarfile.TarFile, path: Path, name: str) -> None:
    status = path.lstat()
    entry = tarfile.TarInfo(name)
    if stat.S_ISREG(status.st_mode):
        add(tar, path, name, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
    elif stat.S_ISDIR(status.st_mode):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
        tar.addfile(entry)
