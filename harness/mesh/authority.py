"""
A certificate authority of the harness's own: a trust anchor, an issuer under it, and leaves.

A driver that hands this authority to its mesh can later forge what no honest issuer would: expired
leaves, names of others, leaves of a foreign root. Keys never leave the process unless written by
`write`, with mode 0600.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.mesh.protocol import Certificate, Validity

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Authority", "Files"]

_LONGEST_COMMON_NAME = 64
"""RFC 5280, ub-common-name."""

_ISSUER_LIFETIME_S = 10 * 365 * 86_400.0


class Files:
    """Where an authority was written: the arguments of a mesh's install command."""

    def __init__(self, folder: Path) -> None:
        self.trust_anchors = folder / "ca.crt"
        self.issuer_certificate = folder / "issuer.crt"
        self.issuer_key = folder / "issuer.key"


class Authority:
    """
    A trust anchor and an issuer under it, both ECDSA P-256.

    name: the common name of the anchor; `identity.linkerd.cluster.local`, for Linkerd.
    issuer_lifetime_s: how long the issuer (not the anchor) is valid.
    """

    def __init__(self, name: str, issuer_lifetime_s: float = _ISSUER_LIFETIME_S) -> None:
        self._name = name
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._root = _certificate(
            subject=f"root.{name}",
            public_key=self._root_key.public_key(),
            signer=None,
            signer_key=self._root_key,
            validity=Validity(-3600.0, _ISSUER_LIFETIME_S),
            path_length=1,
        )
        self._new_issuer(issuer_lifetime_s)

    def _new_issuer(self, lifetime_s: float) -> None:
        self._issuer_key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = _certificate(
            subject=self._name,
            public_key=self._issuer_key.public_key(),
            signer=self._root,
            signer_key=self._root_key,
            validity=Validity(-3600.0, lifetime_s),
            path_length=0,
        )

    def renew_issuer(self, lifetime_s: float = _ISSUER_LIFETIME_S) -> None:
        """Replace the issuer by a new one under the same anchor."""
        self._new_issuer(lifetime_s)

    @property
    def anchor_pem(self) -> str:
        """The trust anchor."""
        return _pem(self._root)

    @property
    def issuer_pem(self) -> str:
        """The issuer's certificate."""
        return _pem(self._issuer)

    @property
    def issuer_key_pem(self) -> str:
        """The issuer's private key."""
        return _key_pem(self._issuer_key)

    def issue(self, dns_name: str, validity: Validity) -> Certificate:
        """A leaf for `dns_name`, usable by clients and servers."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(
            subject=dns_name,
            public_key=key.public_key(),
            signer=self._issuer,
            signer_key=self._issuer_key,
            validity=validity,
            path_length=None,
        )
        return Certificate(chain_pem=_pem(leaf) + _pem(self._issuer), key_pem=_key_pem(key))

    def write(self, folder: Path) -> Files:
        """Write anchor, issuer and issuer key into `folder`; only the owner may read the key."""
        files = Files(folder)
        files.trust_anchors.write_text(self.anchor_pem)
        files.issuer_certificate.write_text(self.issuer_pem)
        files.issuer_key.touch(mode=0o600)
        files.issuer_key.write_text(self.issuer_key_pem)
        return files


def _certificate(
    *,
    subject: str,
    public_key: ec.EllipticCurvePublicKey,
    signer: x509.Certificate | None,
    signer_key: ec.EllipticCurvePrivateKey,
    validity: Validity,
    path_length: int | None,
) -> x509.Certificate:
    """An authority when `path_length` is a number, else a leaf whose SAN is `subject`."""
    now = dt.datetime.now(dt.UTC)
    # A longer name stands in the alternative name alone, which is what peers compare.
    fits = len(subject) <= _LONGEST_COMMON_NAME
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if fits else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer.subject if signer else name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(seconds=validity.not_before_s))
        .not_valid_after(now + dt.timedelta(seconds=validity.not_after_s))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()),
            critical=False,
        )
    )
    is_authority = path_length is not None
    builder = builder.add_extension(
        x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True
    ).add_extension(
        x509.KeyUsage(
            digital_signature=not is_authority,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        ),
        critical=True,
    )
    if not is_authority:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        names = x509.SubjectAlternativeName([x509.DNSName(subject)])
        builder = builder.add_extension(names, critical=not fits)
    return builder.sign(signer_key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
