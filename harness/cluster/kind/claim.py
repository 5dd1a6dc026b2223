"""Holding the name of a cluster while it is made, so that two makers cannot take it at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from harness.cluster import places
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["claimed"]


@contextlib.contextmanager
def claimed(name: str) -> Iterator[None]:
    """
    Nobody else of this user has the name in the block; it is free again after it, however it ends.

    Raises:
        UsageError: another has it, or it names no cluster.

    """
    places.check_name(name)
    places.make(places.state_folder())
    path = places.state_folder() / f"{name}.lock"
    descriptor = _locked(path)
    if descriptor is None:
        raise UsageError(
            f"another meshmark is making kind cluster {name} right now: wait for it, or take "
            "another name"
        )
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """A descriptor of the file, locked; None when another has the lock."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder removed it between our two calls
