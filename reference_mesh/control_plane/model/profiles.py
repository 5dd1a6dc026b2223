"""Facts of ServiceProfiles: the parts of them that the destination service answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Profile", "profile_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A ServiceProfile. Its name is the whole name of the service that it describes."""

    namespace: str
    name: str
    opaque_ports: frozenset[int] = frozenset()


def profile_of(document: dict[str, Any]) -> Profile:
    """Facts of a ServiceProfile."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    return Profile(
        namespace=metadata["namespace"],
        name=metadata["name"],
        opaque_ports=frozenset(
            int(port) for port in str(spec.get("opaquePorts") or "").split(",") if port.strip()
        ),
    )
