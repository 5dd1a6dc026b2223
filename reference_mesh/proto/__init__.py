"""
Linkerd's proxy API, as far as the reference mesh speaks it.

The `.proto` files beside this module are written for the messages that the mesh uses: packages,
names, numbers and types are those of linkerd2-proxy-api 0.20, so either half of the mesh can be
replaced by the real one. `python -m reference_mesh.proto` regenerates `gen/` from them.
"""

from __future__ import annotations

__all__: list[str] = []
