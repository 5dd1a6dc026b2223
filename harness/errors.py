"""
Errors of the harness.

One class per decision that a caller can make:

    MeshmarkError
    ├── UsageError        what was asked for does not exist or contradicts itself; exit code 64
    ├── EnvironmentLacks  this machine, or a node, lacks what the work needs; exit code 70
    ├── ClusterError      the cluster under the mesh failed; exit code 70
    │   └── PodFailed     a pod ended or can never start; carries its last log lines
    ├── MeshError         the mesh refused or failed something that it claims
    │   └── Unsupported   the mesh does not claim this; never a pass, never a failure
    └── NotInTime         a wait ended before its condition held; carries what was seen

Every message says what happened, to which object, how long it waited, and what to do next.
"""

from __future__ import annotations

__all__ = [
    "ClusterError",
    "EnvironmentLacks",
    "MeshError",
    "MeshmarkError",
    "NotInTime",
    "PodFailed",
    "Unsupported",
    "UsageError",
]


class MeshmarkError(Exception):
    """Root of every error that the harness raises on purpose; its text is meant for the user."""

    exit_code = 70


class UsageError(MeshmarkError):
    """What was asked for does not exist or contradicts itself."""

    exit_code = 64


class EnvironmentLacks(MeshmarkError):
    """This machine lacks a program, a privilege or a resource, or a cluster's nodes an image."""


class ClusterError(MeshmarkError):
    """The cluster under the mesh failed; says nothing of the mesh."""


class PodFailed(ClusterError):
    """A pod ended, or can never start. The message ends with the last lines of its log, if any."""


class MeshError(MeshmarkError):
    """The mesh refused or failed something that it claims to do."""

    exit_code = 1


class Unsupported(MeshError):
    """The mesh does not claim this feature. Recorded as `unsupported`, never as a pass."""

    def __init__(self, feature: str, why: str) -> None:
        super().__init__(f"{feature}: {why}")
        self.feature = feature
        self.why = why


class NotInTime(MeshmarkError):
    """A wait ended before its condition held. The message lists the last observations."""
