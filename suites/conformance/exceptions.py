"""The registry of what logs may hold although it looks like an error: `log-exceptions.toml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from suites.logbook import Entry

__all__ = ["Exceptions", "read"]

_FILE = Path(__file__).with_name("log-exceptions.toml")


class _Exception(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry is excused when all three expressions match, the first two as a whole."""

    reason: str
    text: str
    namespace: str = ".*"
    container: str = ".*"

    def covers(self, entry: Entry) -> bool:
        return bool(
            re.fullmatch(self.namespace, entry.namespace)
            and re.fullmatch(self.container, entry.container)
            and re.search(self.text, entry.text)
        )


class Exceptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All entries of the registry."""

    exception: list[_Exception] = []

    def covers(self, entry: Entry) -> bool:
        """Whether the registry excuses this entry."""
        return any(one.covers(entry) for one in self.exception)


def read(path: Path = _FILE) -> Exceptions:
    """
    The registry.

    Raises:
        msgspec.ValidationError: an entry lacks its reason, or has a field that nobody knows.

    """
    return msgspec.toml.decode(path.read_bytes(), type=Exceptions)
