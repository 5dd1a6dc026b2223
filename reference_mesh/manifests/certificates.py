"""
Certificates of an installation: trust anchor, issuer and webhook servers.

All are ECDSA P-256. `acceptance` judges those that a user gives.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.manifests.serving import Serving

__all__ = [
    "Credentials",
    "KeyPair",
    "make_issuer",
    "make_trust_anchor",
    "make_webhook",
]

_YEAR = dt.timedelta(days=365)
_SKEW = dt.timedelta(minutes=5)
"""Certificates start a little in the past, so that a node whose clock is behind accepts them."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate (or chain, leaf first) and its key, both PEM. Never printed by `repr`."""

    certificate_pem: str
    key_pem: str

    def __repr__(self) -> str:
        return "KeyPair(…)"


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Everything secret or signed that an installation needs.

    issuer: None when its Secret is made by something else, as cert-manager.
    injector, validator: serving certificates, each with what the API server trusts it by.
    """

    trust_anchors_pem: str
    issuer: KeyPair | None
    injector: Serving
    validator: Serving


def make_trust_anchor(trust_domain: str) -> KeyPair:
    """Make a self-signed root, valid for a year."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"root.linkerd.{trust_domain}")
    builder = _builder(name, name, key).add_extension(x509.BasicConstraints(True, None), True)
    return _pair(builder.add_extension(_ca_usage(), critical=True).sign(key, hashes.SHA256()), key)


def make_issuer(anchor: KeyPair, trust_domain: str, control_plane_ns: str) -> KeyPair:
    """Make an intermediate that may sign leaf certificates only, valid as long as its anchor."""
    root = x509.load_pem_x509_certificate(anchor.certificate_pem.encode())
    root_key = serialization.load_pem_private_key(anchor.key_pem.encode(), None)
    if not isinstance(root_key, ec.EllipticCurvePrivateKey):
        raise InvalidInput("trust anchor: its key is not ECDSA")
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"identity.{control_plane_ns}.{trust_domain}")
    builder = _builder(name, root.subject, key).not_valid_after(root.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(_ca_usage(), critical=True)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    builder = builder.add_extension(authority, critical=False)
    return _pair(builder.sign(root_key, hashes.SHA256()), key)


def make_webhook(hosts: Sequence[str], *, now: dt.datetime | None = None) -> KeyPair:
    """
    Make a self-signed serving certificate for these host names, valid for a year from now.

    No two have the same subject: OpenSSL looks an authority up by that, and of two it takes one.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{x509.random_serial_number():x}")
    name = x509.Name([*_name(hosts[0]), made])
    builder = _builder(name, name, key, now=now)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return _pair(builder.add_extension(usage, critical=False).sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    now: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    now = now or dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _SKEW)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return builder if issuer != subject else builder.not_valid_after(now + _YEAR)


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode(),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
