"""
Errors of the reference mesh.

One class per decision that a caller can make:

    RefmeshError
    ├── UsageError      what was asked for does not exist or contradicts itself; exit code 64
    ├── InvalidInput    a document, annotation, value or certificate is refused; names it
    └── ClusterError    the Kubernetes API could not be reached or refused

Every message says what happened, to which object, and what to do next. The CLI prints it as one
line, without a traceback.
"""

from __future__ import annotations

__all__ = ["ClusterError", "InvalidInput", "RefmeshError", "UsageError"]


class RefmeshError(Exception):
    """Root of every error that the reference mesh raises on purpose."""

    exit_code = 1


class UsageError(RefmeshError):
    """What was asked for does not exist or contradicts itself."""

    exit_code = 64


class InvalidInput(RefmeshError):
    """A document, annotation, value or certificate is refused; the message names it."""


class ClusterError(RefmeshError):
    """The Kubernetes API could not be reached, or refused what was asked of it."""
