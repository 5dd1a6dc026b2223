"""
The engine with real Kubernetes in it: clusters of the `kind` program, whose nodes Docker runs.

`start` gives one that lives as long as a context, `up` and `down` one that stays. What the machine
needs for it is `meshmark doctor`'s to say and to mend.
"""

from __future__ import annotations

from harness.cluster.kind.engine import KindCluster
from harness.cluster.kind.launch import (
    WORKERS,
    attach,
    down,
    is_up,
    refuse,
    require,
    start,
    up,
)

__all__ = [
    "WORKERS",
    "KindCluster",
    "attach",
    "down",
    "is_up",
    "refuse",
    "require",
    "start",
    "up",
]
