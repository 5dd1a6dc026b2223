"""Reading a document field by field, with errors that say where."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from reference_mesh.errors import InvalidInput

__all__ = ["Network", "Path", "cidr", "duration", "members", "regex"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DURATION = re.compile(r"^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+$")
_UNSUPPORTED = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")
"""Look-around and back-references: Python knows them, the proxy's expressions do not."""

_LONGEST_REGEX = 4096


@dataclass(frozen=True, slots=True)
class Path:
    """Where in an object a value stands."""

    subject: str
    place: str = ""

    def __truediv__(self, member: str) -> Path:
        return Path(self.subject, f"{self.place}.{member}" if self.place else member)

    def __getitem__(self, index: int) -> Path:
        return Path(self.subject, f"{self.place}[{index}]")

    def error(self, what: str) -> InvalidInput:
        """Make the error to raise."""
        return InvalidInput(f"{self.subject}: {self.place or 'object'}: {what}")


def members(value: Any, path: Path) -> dict[str, Any]:
    """
    An object's members; none when it is absent.

    Raises:
        InvalidInput: it is something else.

    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise path.error(f"expected an object, found {type(value).__name__}")
    return value


def cidr(value: Any, path: Path) -> Network:
    """
    A network, or an address as a network of its own.

    Raises:
        InvalidInput: neither.

    """
    try:
        return ipaddress.ip_network(str(value), strict=False)
    except ValueError as error:
        raise path.error(f'"{value}" is not a network like 10.0.0.0/8') from error


def duration(value: Any, path: Path) -> None:
    """
    Accept a duration in Go's form.

    Raises:
        InvalidInput: it is something else.

    """
    if not isinstance(value, str) or not _DURATION.match(value):
        raise path.error(f'"{value}" is not a duration like 300ms, 5s or 1m30s')


def regex(value: Any, path: Path) -> None:
    """
    Accept a regular expression that the proxy can compile.

    Raises:
        InvalidInput: it cannot.

    """
    if not isinstance(value, str) or not value:
        raise path.error("expected a regular expression")
    if len(value) > _LONGEST_REGEX:
        raise path.error(f"longer than {_LONGEST_REGEX} characters")
    if _UNSUPPORTED.search(value):
        raise path.error(f'"{value}": look-around and back-references are not supported')
    try:
        re.compile(value)
    except re.error as error:
        raise path.error(f'"{value}" is not a regular expression: {error}') from error
