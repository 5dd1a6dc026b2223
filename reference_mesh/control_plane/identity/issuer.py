"""
The issuer: the key and certificate that sign workload certificates, and whether they may.

Pure functions of the Secret's data, the trust bundle and the time, so that each reason to refuse
an issuer is stated in one place and tested there.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

__all__ = [
    "Issuer",
    "NotValid",
    "NotYetValid",
    "chain_to_root",
    "is_authority",
    "pem_pair",
    "read",
    "validated",
]

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_SECRET_KEYS = (("crt.pem", "key.pem"), ("tls.crt", "tls.key"))
"""Certificate and key in Secrets of `linkerd.io/tls` and of `kubernetes.io/tls`."""

_LONGEST_CHAIN = 10

_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What a part of a certificate raises that is only parsed when it is looked at."""


class NotValid(InvalidInput):
    """An issuer that can be read, but must not sign: expired, no authority, or not anchored."""


class NotYetValid(NotValid):
    """An issuer that may sign from `not_before` on."""

    def __init__(self, not_before: dt.datetime) -> None:
        super().__init__(f"the issuer is valid only from {not_before:%Y-%m-%dT%H:%M:%SZ}")
        self.not_before = not_before


@dataclass(frozen=True, slots=True)
class Issuer:
    """
    A key that may sign.

    chain: its certificate and every intermediate up to, and without, the root.
    not_before, not_after: when all of them and the root are valid.
    """

    key: Key
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    not_before: dt.datetime
    not_after: dt.datetime

    @property
    def serial(self) -> str:
        """Serial number of the certificate, hexadecimal; tells issuers apart in a log."""
        return f"{self.certificate.serial_number:x}"


def pem_pair(data: Mapping[str, str]) -> tuple[bytes, bytes]:
    """
    Certificate and key out of the `data` of a Secret.

    Raises:
        InvalidInput: neither of the two pairs of keys is complete, or one is not base64.

    """
    for certificate, key in _SECRET_KEYS:
        if data.get(certificate) and data.get(key):
            try:
                return base64.b64decode(data[certificate]), base64.b64decode(data[key])
            except binascii.Error as error:
                raise InvalidInput(f"{certificate} or {key} is not base64") from error
    raise InvalidInput("it holds neither crt.pem and key.pem nor tls.crt and tls.key")


def read(certificate_pem: bytes, key_pem: bytes) -> tuple[Key, tuple[x509.Certificate, ...]]:
    """
    Read a key and its certificates, the key's own first.

    Raises:
        InvalidInput: not PEM, not a supported key, or a key of another certificate.

    """
    try:
        certificates = tuple(x509.load_pem_x509_certificates(certificate_pem))
    except ValueError as error:
        raise InvalidInput("the issuer certificate is not PEM") from error
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Without the cause: a parser's message may quote what it read.
        raise InvalidInput("the issuer key is not an unencrypted PEM key") from error
    if not isinstance(key, Key):
        raise InvalidInput("the issuer key is neither ECDSA, RSA nor Ed25519")
    try:
        belongs = certificates[0].public_key() == key.public_key()
    except _UNREADABLE as error:
        raise InvalidInput(f"the issuer certificate has no key that is known: {error}") from error
    if not belongs:
        raise InvalidInput("the issuer key does not belong to the issuer certificate")
    return key, certificates


def validated(
    key: Key,
    certificates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    now: dt.datetime,
) -> Issuer:
    """
    The issuer, if these certificates let it sign now.

    Raises:
        NotYetValid: its time has not come; everything else about it is right.
        NotValid: it must not; the message says why and what to replace.

    """
    try:
        authority = is_authority(certificates[0])
    except _UNREADABLE as error:
        raise NotValid(f"the issuer certificate's extensions are not readable: {error}") from error
    if not authority:
        raise NotValid("the issuer certificate is not a certificate authority")
    path = chain_to_root(certificates, roots)
    not_before = max(certificate.not_valid_before_utc for certificate in path)
    not_after = min(certificate.not_valid_after_utc for certificate in path)
    if now >= not_after:
        raise NotValid(
            f"the issuer certificate or its chain has expired at {not_after:%Y-%m-%dT%H:%M:%SZ}; "
            "put a new one into Secret linkerd-identity-issuer"
        )
    if now < not_before:
        raise NotYetValid(not_before)
    return Issuer(key, certificates[0], tuple(path[:-1]), not_before, not_after)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        return error.oid == x509.KeyUsage.oid and basic.ca
    return basic.ca and usage.key_cert_sign


def chain_to_root(
    certificates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """
    The way from the first certificate to a root of the bundle, both included.

    Raises:
        NotValid: there is none.

    """
    path = [certificates[0]]
    while path[-1] not in roots:
        current = path[-1]
        above = [c for c in (*roots, *certificates[1:]) if c not in path and _issued(current, c)]
        if not above or len(path) > _LONGEST_CHAIN:
            raise NotValid(
                f"no root of the trust bundle has issued {current.subject.rfc4514_string()!r}; "
                "put its root into ConfigMap linkerd-identity-trust-roots"
            )
        path.append(above[0])
    if len(path) == 1:
        path.append(path[0])
    return path


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (*_UNREADABLE, TypeError, InvalidSignature):
        return False
    return True
