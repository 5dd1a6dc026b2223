"""Workload certificates."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from reference_mesh.control_plane.identity.issuer import Issuer

__all__ = ["Leaf", "issue", "validity"]

_LONGEST_COMMON_NAME = 64
"""RFC 5280, ub-common-name."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for one workload; certificates are DER."""

    certificate: bytes
    intermediates: tuple[bytes, ...]
    serial: int
    valid_until: dt.datetime


def issue(
    issuer: Issuer,
    identity: str,
    key: ec.EllipticCurvePublicKey,
    *,
    now: dt.datetime,
    lifetime_s: float,
    clock_skew_s: float,
) -> Leaf:
    """Sign a certificate that makes the holder of this key the bearer of this identity."""
    not_before, not_after = validity(
        now, issuer.not_after, lifetime_s=lifetime_s, clock_skew_s=clock_skew_s
    )
    serial = x509.random_serial_number()
    # A longer name stands in the alternative name alone, which is what peers compare.
    fits = len(identity) <= _LONGEST_COMMON_NAME
    subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, identity)] if fits else []
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(identity)]), critical=not fits)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        .add_extension(_authority(issuer.certificate), critical=False)
        .sign(issuer.key, None if _signs_whole(issuer) else hashes.SHA256())
    )
    return Leaf(
        certificate.public_bytes(serialization.Encoding.DER),
        tuple(c.public_bytes(serialization.Encoding.DER) for c in issuer.chain),
        serial,
        not_after,
    )


def validity(
    now: dt.datetime, issuer_ends: dt.datetime, *, lifetime_s: float, clock_skew_s: float
) -> tuple[dt.datetime, dt.datetime]:
    """
    From when until when a certificate issued now is valid.

    It begins earlier by the clock skew, for peers whose clock is behind; that lengthens nothing:
    the lifetime counts from now, and ends with the issuer's chain at the latest.
    """
    not_after = min(now + dt.timedelta(seconds=lifetime_s), issuer_ends)
    return now - dt.timedelta(seconds=clock_skew_s), not_after.replace(microsecond=0)


_PURPOSES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _signs_whole(issuer: Issuer) -> bool:
    """Ed25519 takes the message itself, not a hash of it."""
    return isinstance(issuer.key, ed25519.Ed25519PrivateKey)


def _authority(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)
