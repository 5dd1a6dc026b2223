"""
The control plane: `python -m reference_mesh.control_plane identity|destination|proxy-injector`.

How a change travels: a reflector lists and watches one kind (`kube`), facts of each object enter
one `snapshot`, pure functions compile it into views (`destination`, `policy`), and `fanout` sends
a view that changed to whoever watches it. `identity` issues certificates and needs none of that.
"""

from __future__ import annotations

__all__: list[str] = []
