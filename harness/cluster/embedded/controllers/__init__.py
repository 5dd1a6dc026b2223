"""The controllers of the embedded cluster: what makes objects follow from other objects."""

from __future__ import annotations

from harness.cluster.embedded.controllers.set import Controllers

__all__ = ["Controllers"]
