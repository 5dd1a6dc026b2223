"""
Serving certificates of the webhooks: made, kept, renewed in time, and trusted across the change.

A renewed certificate reaches the API server and the webhook at different times: the bundle of a
webhook's configuration counts at once, the mounted Secret only when the kubelet has come round, a
minute or two later. So the bundle keeps the old certificate beside the new one, as long as it is
valid. Each certificate is its own authority, and no key of an authority lies in the cluster: with
one authority and renewed leaves, whoever reads that key could pose as any webhook.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import acceptance, certificates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.manifests.certificates import KeyPair

__all__ = [
    "RENEWED_WITHIN",
    "Serving",
    "injector_hosts",
    "made",
    "names_hosts",
    "renewed_in_time",
    "validator_hosts",
]

RENEWED_WITHIN = dt.timedelta(days=60)
"""Time left below which `upgrade` renews a certificate, and `check` warns of it."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A webhook's certificate and key, and the PEM bundle by which the API server trusts it."""

    pair: KeyPair
    trusted_pem: str


def injector_hosts(namespace: str) -> list[str]:
    """Host names by which the API server calls the injector."""
    return [f"linkerd-proxy-injector.{namespace}.svc"]


def validator_hosts(namespace: str) -> list[str]:
    """Host names by which the API server calls the validator."""
    return [f"linkerd-policy-validator.{namespace}.svc", f"linkerd-sp-validator.{namespace}.svc"]


def made(hosts: Sequence[str], *, now: dt.datetime | None = None) -> Serving:
    """Make a certificate that only its own bundle trusts."""
    pair = certificates.make_webhook(hosts, now=now)
    return Serving(pair, pair.certificate_pem)


def renewed_in_time(
    kept: Serving | None, hosts: Sequence[str], *, now: dt.datetime | None = None
) -> Serving:
    """
    What is installed if it is good for a while yet; else a new certificate, and trust in both.

    Certificates that are over leave the bundle. kept: None when there is none, or none that can
    be used.
    """
    now = now or dt.datetime.now(dt.UTC)
    if kept is None:
        return made(hosts, now=now)
    current = acceptance.read_bundle(kept.pair.certificate_pem, "webhook certificate")[0]
    good = current.not_valid_after_utc - now >= RENEWED_WITHIN and names_hosts(current, hosts)
    pair = kept.pair if good else certificates.make_webhook(hosts, now=now)
    older = [
        certificate
        for certificate in (current, *_trusted(kept))
        if certificate.not_valid_after_utc > now
    ]
    texts = [pair.certificate_pem, *(_pem(certificate) for certificate in older)]
    return Serving(pair, "".join(dict.fromkeys(texts)))


def names_hosts(certificate: x509.Certificate, hosts: Sequence[str]) -> bool:
    """Whether a certificate is one for all of these host names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return set(hosts) <= set(names.get_values_for_type(x509.DNSName))


def _trusted(kept: Serving) -> list[x509.Certificate]:
    try:
        return acceptance.read_bundle(kept.trusted_pem, "webhook bundle")
    except InvalidInput:
        return []  # damaged by hand; the certificate itself is trusted again


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
