"""Sets of ports as annotations write them: `25,587,8000-8010`."""

from __future__ import annotations

from dataclasses import dataclass

from reference_mesh.errors import InvalidInput

__all__ = ["NONE", "PortSet", "parse"]

_HIGHEST = 65535


@dataclass(frozen=True, slots=True)
class PortSet:
    """Ports by inclusive ranges; a range is never unfolded, however wide it is."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and any(low <= port <= high for low, high in self.ranges)


NONE = PortSet()
"""No port at all."""


def parse(text: str) -> PortSet:
    """
    Read a comma-separated list of ports and ranges.

    Raises:
        InvalidInput: an entry is not a port or a range of ports.

    """
    entries = [entry.strip() for entry in text.split(",")]
    return PortSet(tuple(_range(entry) for entry in entries if entry))


def _range(entry: str) -> tuple[int, int]:
    first, dash, last = entry.partition("-")
    if not _is_port(first) or (dash and not _is_port(last)):
        raise InvalidInput(f"{entry!r} is not a port or a range of ports like 8000-8010")
    low, high = int(first), int(last or first)
    if low > high:
        raise InvalidInput(f"{entry!r} is a range that ends before it begins")
    return low, high


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= _HIGHEST
