"""A Kubernetes API and the pods behind it, on one of several engines."""

from __future__ import annotations

from harness.cluster.model import Bind, Cluster, Image, ProcessFacts

__all__ = ["Bind", "Cluster", "Image", "ProcessFacts"]
