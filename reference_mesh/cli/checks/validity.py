"""Whether certificates are within their time, and how long they have left."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reference_mesh.cli.checks.model import Failed, Warned
from reference_mesh.manifests import serving

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

__all__ = ["for_long", "within"]


def within(shown: str, certificates: Iterable[x509.Certificate]) -> None:
    """
    Accept certificates that are valid now.

    Raises:
        Failed: one is not yet, or no longer.

    """
    now = dt.datetime.now(dt.UTC)
    for certificate in certificates:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if begins > now:
            raise Failed(f"{shown} not valid before {begins:%Y-%m-%dT%H:%M:%SZ}")
        if ends < now:
            raise Failed(f"{shown} expired on {ends:%Y-%m-%dT%H:%M:%SZ}")


def for_long(shown: str, certificates: Iterable[x509.Certificate]) -> None:
    """
    Accept certificates that somebody need not renew soon.

    Raises:
        Warned: one ends within 60 days.

    """
    now = dt.datetime.now(dt.UTC)
    for certificate in certificates:
        ends = certificate.not_valid_after_utc
        if ends - now < serving.RENEWED_WITHIN:
            raise Warned(f"{shown} will expire on {ends:%Y-%m-%dT%H:%M:%SZ}")
