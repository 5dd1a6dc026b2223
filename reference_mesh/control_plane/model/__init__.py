"""
Facts: what the control plane keeps of each object that it follows.

Small immutable values, compared by content: an update that changes no fact (most status updates)
causes no work further on.
"""

from __future__ import annotations

__all__: list[str] = []
