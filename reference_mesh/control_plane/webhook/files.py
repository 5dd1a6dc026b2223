"""
Files that Kubernetes replaces while the process runs, as mounted Secrets and ConfigMaps.

Looked at when they are needed: a `stat` is cheaper than a watcher, and nothing has to be ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from reference_mesh.control_plane.logfmt import Log
from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Followed"]

T = TypeVar("T")

_log = Log("files")

_Stamp = tuple[tuple[int, int], ...]


class Followed(Generic[T]):
    """
    What is made of some files, made anew after any of them changed.

    Once something was made it stays: files that cannot be used are logged, and the last good value
    holds. `get` raises InvalidInput only before that.
    """

    def __init__(self, files: Sequence[Path], make: Callable[[], T]) -> None:
        self._files = tuple(files)
        self._make = make
        self._seen: _Stamp | None = None
        self._value: list[T] = []

    def get(self) -> T:
        """
        The value of the files as they are now.

        Raises:
            InvalidInput: they cannot be used, and never could since the process started.

        """
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                made = self._make()
                self._value[:] = [made]
                self._seen = stamp
        except (OSError, ValueError, InvalidInput) as error:
            names = ", ".join(str(file) for file in self._files)
            if not self._value:
                raise InvalidInput(f"{names}: {error}") from error
            _log.warning("files cannot be used; the last good ones hold", files=names, error=error)
        return self._value[0]

    def _stamp(self) -> _Stamp:
        facts = [file.stat() for file in self._files]
        return tuple((fact.st_mtime_ns, fact.st_ino) for fact in facts)
