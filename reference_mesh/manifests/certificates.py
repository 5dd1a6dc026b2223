"""
Certificates of an installation: trust anchor, issuer and webhook servers.

All are ECDSA P-256. Given ones are validated before anything is printed, because a mesh installed
with a bad issuer looks healthy until its first proxy asks for a certificate.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Credentials",
    "KeyPair",
    "check_algorithm",
    "check_issuer",
    "make_issuer",
    "make_trust_anchor",
    "make_webhook",
    "read_bundle",
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
    injector, validator: serving certificates; each is its own authority.
    """

    trust_anchors_pem: str
    issuer: KeyPair | None
    injector: KeyPair
    validator: KeyPair


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


def make_webhook(hosts: Sequence[str]) -> KeyPair:
    """Make a self-signed serving certificate for these host names, valid for a year."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(hosts[0])
    builder = _builder(name, name, key)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return _pair(builder.add_extension(usage, critical=False).sign(key, hashes.SHA256()), key)


def read_bundle(pem: str, source: str) -> list[x509.Certificate]:
    """
    Certificates of a PEM bundle, in its order.

    Raises:
        InvalidInput: there is none, or one cannot be read; names the source.

    """
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise InvalidInput(f"{source}: not a PEM bundle of certificates: {error}") from error


def check_issuer(
    trust_anchors_pem: str,
    issuer: KeyPair | None,
    *,
    anchors_source: str = "trust anchors",
    issuer_source: str = "issuer certificate",
    now: dt.datetime | None = None,
) -> None:
    """
    Refuse anchors or an issuer that no proxy would accept.

    Raises:
        InvalidInput: expired, not yet valid, of an unsupported algorithm, not an authority, not
            signed by an anchor, or with another key; names the source and says what to do.

    """
    now = now or dt.datetime.now(dt.UTC)
    anchors = read_bundle(trust_anchors_pem, anchors_source)
    for anchor in anchors:
        _check_validity(anchor, anchors_source, now)
        check_algorithm(anchor, anchors_source)
        _check_authority(anchor, anchors_source)
    if issuer is None:
        return
    leaf, *between = read_bundle(issuer.certificate_pem, issuer_source)
    _check_validity(leaf, issuer_source, now)
    _check_authority(leaf, issuer_source)
    if not isinstance(leaf.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise InvalidInput(f"{issuer_source}: its key is neither ECDSA nor RSA; make one of those")
    check_algorithm(leaf, issuer_source)
    _check_key(leaf, issuer.key_pem, issuer_source)
    if not _chains(leaf, between, anchors):
        raise InvalidInput(
            f"{issuer_source}: `{_common_name(leaf)}` is not signed by any of the trust anchors "
            f"({', '.join(_common_name(anchor) for anchor in anchors)}); give the anchor that "
            "signed it, or an issuer signed by the anchor given"
        )


def check_algorithm(certificate: x509.Certificate, source: str) -> None:
    """
    Refuse a certificate whose key no proxy would accept.

    Raises:
        InvalidInput: names the source, the certificate and what to use instead.

    """
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            raise InvalidInput(
                f"{source}: `{_common_name(certificate)}` uses the curve {key.curve.name}; "
                "use P-256"
            )
        return
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise InvalidInput(
                f"{source}: `{_common_name(certificate)}` has an RSA key of {key.key_size} bits; "
                "use 2048 or more, or ECDSA P-256"
            )
        return
    kind = type(key).__name__.replace("PublicKey", "")
    shown = _common_name(certificate)
    raise InvalidInput(f"{source}: `{shown}` has a key of type {kind}; use ECDSA P-256")


def _check_validity(certificate: x509.Certificate, source: str, now: dt.datetime) -> None:
    shown = _common_name(certificate)
    if certificate.not_valid_after_utc <= now:
        at = certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise InvalidInput(f"{source}: `{shown}` expired on {at}; make a new one")
    if certificate.not_valid_before_utc > now:
        at = certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise InvalidInput(
            f"{source}: `{shown}` is not valid before {at}; check this machine's clock"
        )


def _check_authority(certificate: x509.Certificate, source: str) -> None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        authority = False
    else:
        authority = extension.value.ca
    if not authority:
        raise InvalidInput(
            f"{source}: `{_common_name(certificate)}` may not sign certificates "
            "(basic constraints lack CA:TRUE); make a CA certificate"
        )


def _check_key(certificate: x509.Certificate, key_pem: str, source: str) -> None:
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"issuer key: not an unencrypted PEM key: {error}; give the key of {source}"
        ) from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise InvalidInput(
            f"issuer key: belongs to another certificate than {source}; give the key of that one"
        )


def _chains(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> bool:
    """Whether each certificate is signed by the next, and the last one by an anchor or is one."""
    path = [leaf, *between]
    if any(not _signed_by(path[i], path[i + 1]) for i in range(len(path) - 1)):
        return False
    return any(path[-1] == anchor or _signed_by(path[-1], anchor) for anchor in anchors)


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
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


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string() or "unnamed"
