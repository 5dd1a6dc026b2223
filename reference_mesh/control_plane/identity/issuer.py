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
from reference_mesh.manifests import names

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

__all__ = ["REPLACE", "UPGRADE", "Issuer", "NotValid", "NotYetValid", "Unusable", "load"]

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_FIELDS = (("crt.pem", "key.pem"), ("tls.crt", "tls.key"))
"""Certificate and key in Secrets of `linkerd.io/tls` and of `kubernetes.io/tls`."""

UPGRADE = (
    "`refmesh upgrade --identity-trust-anchors-file=ROOT --identity-issuer-certificate-file=CRT "
    "--identity-issuer-key-file=KEY | kubectl apply -f -`"
)
REPLACE = f"replace certificate and key with {UPGRADE} or with whatever else keeps this Secret"

_LONGEST_CHAIN = 10

_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What a part of a certificate raises that is only parsed when it is looked at."""


class Unusable(InvalidInput):
    """One field of the Secret that holds the issuer: what is wrong with it and what to do."""

    def __init__(self, field: str, why: str, todo: str = REPLACE) -> None:
        super().__init__(f"{field}: {why}; {todo}")
        self.field = field
        self.why = f"{why}; {todo}"


class NotValid(Unusable):
    """An issuer that can be read, but must not sign: expired, no authority, or not anchored."""


class NotYetValid(NotValid):
    """An issuer that may sign from `not_before` on."""

    def __init__(self, field: str, not_before: dt.datetime) -> None:
        time = f"{not_before:%Y-%m-%dT%H:%M:%SZ}"
        why = f"is valid only from {time} and is taken over then"
        super().__init__(field, why, f"to sign before, {REPLACE}")
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


def load(data: Mapping[str, str], roots: Sequence[x509.Certificate], *, now: dt.datetime) -> Issuer:
    """
    The issuer in the `data` of a Secret, if it may sign now.

    Raises:
        NotYetValid: its time has not come; everything else about it is right.
        NotValid: it can be read, and must not sign.
        Unusable: a field is missing or cannot be read.

    """
    for pair in _FIELDS:
        if all(data.get(name) for name in pair):
            key, certificates = _read(data, *pair)
            return _validated(key, certificates, roots, now=now, field=pair[0])
    held = ", ".join(sorted(data)) or "nothing"
    raise Unusable("data", f"holds {held}, but neither crt.pem and key.pem nor tls.crt and tls.key")


def _read(
    data: Mapping[str, str], certificate_field: str, key_field: str
) -> tuple[Key, tuple[x509.Certificate, ...]]:
    try:
        certificates = tuple(x509.load_pem_x509_certificates(_decoded(data, certificate_field)))
    except ValueError as error:
        raise Unusable(certificate_field, "is not PEM") from error
    try:
        key = serialization.load_pem_private_key(_decoded(data, key_field), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Without the cause: a parser's message may quote what it read.
        raise Unusable(key_field, "is not an unencrypted PEM key") from error
    if not isinstance(key, Key):
        raise Unusable(key_field, "is neither ECDSA, RSA nor Ed25519")
    try:
        belongs = certificates[0].public_key() == key.public_key()
    except _UNREADABLE as error:
        raise Unusable(certificate_field, f"has no key that is known: {error}") from error
    if not belongs:
        raise Unusable(key_field, f"does not belong to the certificate in {certificate_field}")
    return key, certificates


def _decoded(data: Mapping[str, str], field: str) -> bytes:
    try:
        return base64.b64decode(data[field])
    except binascii.Error as error:
        raise Unusable(field, "is not base64") from error


def _validated(
    key: Key,
    certificates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    now: dt.datetime,
    field: str,
) -> Issuer:
    try:
        authority = _is_authority(certificates[0])
    except _UNREADABLE as error:
        raise NotValid(field, f"its extensions are not readable: {error}") from error
    if not authority:
        raise NotValid(field, "is not a certificate authority")
    path = _chain_to_root(certificates, roots)
    if path is None:
        subject = certificates[0].subject.rfc4514_string()
        raise NotValid(
            field,
            f"no root of the trust bundle has issued {subject!r}",
            f"put its root into ConfigMap {names.TRUST_ROOTS}, or {REPLACE}",
        )
    not_before = max(certificate.not_valid_before_utc for certificate in path)
    not_after = min(certificate.not_valid_after_utc for certificate in path)
    if now >= not_after:
        time = f"{not_after:%Y-%m-%dT%H:%M:%SZ}"
        raise NotValid(field, f"the certificate or its chain has expired at {time}")
    if now < not_before:
        raise NotYetValid(field, not_before)
    return Issuer(key, certificates[0], tuple(path[:-1]), not_before, not_after)


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        return error.oid == x509.KeyUsage.oid and basic.ca
    return basic.ca and usage.key_cert_sign


def _chain_to_root(
    certificates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate] | None:
    """The way from the first certificate to a root of the bundle, both included."""
    path = [certificates[0]]
    while path[-1] not in roots:
        current = path[-1]
        above = [c for c in (*roots, *certificates[1:]) if c not in path and _issued(current, c)]
        if not above or len(path) > _LONGEST_CHAIN:
            return None
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
