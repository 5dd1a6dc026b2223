"""
Whether certificates can be used: by an installation before it is printed, by a cluster that has it.

A mesh installed with a bad issuer looks healthy until its first proxy asks for a certificate, so
what is given is judged before anything is printed. Each refusal names its source and says what to
do.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.manifests.certificates import KeyPair

__all__ = [
    "chains_to",
    "check_algorithm",
    "check_authority",
    "check_issuer",
    "check_key",
    "read_bundle",
]


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
        check_authority(anchor, anchors_source)
    if issuer is None:
        return
    leaf, *between = read_bundle(issuer.certificate_pem, issuer_source)
    _check_validity(leaf, issuer_source, now)
    check_authority(leaf, issuer_source)
    if not isinstance(leaf.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise InvalidInput(f"{issuer_source}: its key is neither ECDSA nor RSA; make one of those")
    check_algorithm(leaf, issuer_source)
    check_key(issuer, issuer_source)
    if not chains_to(leaf, between, anchors):
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


def check_key(pair: KeyPair, source: str) -> None:
    """
    Refuse a key of another certificate.

    Raises:
        InvalidInput: it is that, or not an unencrypted PEM key; names the source.

    """
    certificate = read_bundle(pair.certificate_pem, source)[0]
    try:
        key = serialization.load_pem_private_key(pair.key_pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"key of {source}: not an unencrypted PEM key: {error}; give the key of that one"
        ) from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise InvalidInput(
            f"key of {source}: belongs to another certificate; give the key of that one"
        )


def chains_to(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> bool:
    """Whether each certificate is signed by the next, and the last one by an anchor or is one."""
    path = [leaf, *between]
    if any(not _signed_by(path[i], path[i + 1]) for i in range(len(path) - 1)):
        return False
    return any(path[-1] == anchor or _signed_by(path[-1], anchor) for anchor in anchors)


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


def check_authority(certificate: x509.Certificate, source: str) -> None:
    """
    Refuse a certificate that may not sign others.

    Raises:
        InvalidInput: names the source and the certificate.

    """
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


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string() or "unnamed"
