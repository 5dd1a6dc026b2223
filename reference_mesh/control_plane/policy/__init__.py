"""Inbound and outbound policy: pure functions from the snapshot to messages, and their service."""

from __future__ import annotations

__all__: list[str] = []
