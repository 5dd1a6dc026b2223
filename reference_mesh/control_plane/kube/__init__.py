"""The control plane's side of the Kubernetes API: client, reflectors, events, denials."""

from __future__ import annotations

__all__: list[str] = []
