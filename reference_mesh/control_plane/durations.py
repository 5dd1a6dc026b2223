"""Durations as Go, and so Linkerd, writes them: `24h0m0s`, `20s`, `300ms`."""

from __future__ import annotations

import re

from reference_mesh.errors import InvalidInput

__all__ = ["seconds"]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """
    The duration in seconds.

    Raises:
        InvalidInput: the text is not a sequence of numbers with units.

    """
    total_s, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        total_s += float(part[1]) * _UNITS_S[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise InvalidInput(f"duration {text!r} is not like 24h0m0s, 20s or 300ms")
    return total_s
