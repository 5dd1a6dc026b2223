"""
The arithmetic of a rolling update: how far each ReplicaSet may go right now.

The bounds are Kubernetes': never more than replicas + maxSurge pods in all, never fewer than
replicas - maxUnavailable available ones. Pure functions of counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Bounds", "Count", "bounds", "scales"]


@dataclass(frozen=True, slots=True)
class Count:
    """One ReplicaSet: how many pods it is to have, and how many of them are available."""

    name: str
    wanted: int
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a deployment allows meanwhile."""

    replicas: int
    surge: int
    unavailable: int


def bounds(replicas: int, max_surge: Any, max_unavailable: Any) -> Bounds:
    """Resolve percentages: surge is rounded up, unavailable down, and never are both zero."""
    surge = _resolved(max_surge, replicas, math.ceil)
    unavailable = _resolved(max_unavailable, replicas, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def scales(limits: Bounds, new: Count, old: list[Count]) -> dict[str, int]:
    """
    The next step: what each ReplicaSet is to be scaled to, where that is a change.

    old: oldest first.
    """
    total = new.wanted + sum(each.wanted for each in old)
    if new.wanted > limits.replicas:
        return {new.name: limits.replicas}
    room = limits.replicas + limits.surge - total
    growth = min(room, limits.replicas - new.wanted)
    if growth > 0:
        return {new.name: new.wanted + growth}
    return _shrink(limits, new, old, total)


def _shrink(limits: Bounds, new: Count, old: list[Count], total: int) -> dict[str, int]:
    least = limits.replicas - limits.unavailable
    new_unavailable = max(0, new.wanted - new.available)
    spare = total - least - new_unavailable
    left = {each.name: each.wanted for each in old}
    # Pods that are not available anyway go first: nobody misses them.
    for each in old:
        cut = min(each.wanted - each.available, spare)
        if cut > 0:
            left[each.name] -= cut
            spare -= cut
    available = new.available + sum(min(each.available, left[each.name]) for each in old)
    spare = min(spare, available - least)
    for each in old:
        cut = min(left[each.name], spare)
        if cut > 0:
            left[each.name] -= cut
            spare -= cut
    return {each.name: left[each.name] for each in old if left[each.name] != each.wanted}


def _resolved(value: Any, replicas: int, rounded: Any) -> int:
    if value is None:
        value = "25%"
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(int(value[:-1]) * replicas / 100))
    return int(value)
