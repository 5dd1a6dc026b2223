"""Certificates, requests and tokens for the tests of identity."""

from __future__ import annotations

import base64
import datetime as dt
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = dt.datetime.now(tz=dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)


class Mint:
    """Makes certificates: a root, issuers under it, and requests."""

    def __init__(self) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate("root", self.root_key.public_key(), ca=True)

    def certificate(
        self,
        name,
        key,
        *,
        ca,
        signer=None,
        signer_key=None,
        not_before=NOW - DAY,
        not_after=None,
        constraints=None,
    ):
        """A certificate for this key, self-signed unless a signer is given."""
        constraints = constraints or x509.BasicConstraints(ca=ca, path_length=None)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.subject if signer else subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after or NOW + 365 * DAY)
            .add_extension(constraints, critical=True)
            .sign(signer_key or self.root_key, hashes.SHA256())
        )

    def issuer(self, *, ca=True, key=None, **more):
        """Key and certificate of an issuer under the root."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        signer = {"signer": self.root, "signer_key": self.root_key}
        return key, self.certificate("issuer", key.public_key(), ca=ca, **signer, **more)

    def secret(self, key, *certificates, names=("crt.pem", "key.pem")):
        """Data of Secret linkerd-identity-issuer."""
        values = b"".join(pem(certificate) for certificate in certificates), key_pem(key)
        return {
            name: base64.b64encode(value).decode()
            for name, value in zip(names, values, strict=True)
        }

    def bundle(self, *roots):
        """Data of ConfigMap linkerd-identity-trust-roots."""
        return {"ca-bundle.crt": b"".join(pem(root) for root in roots or (self.root,)).decode()}


def pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def request(identity, *, key=None, common_name=None, names=None, signed_by=None) -> bytes:
    """A DER certificate request; by default a proper one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a common name may be longer than it should be
        subject = [] if common_name is None else [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name, _validate=False)
        ]  # fmt: skip
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    names = [x509.DNSName(identity)] if names is None else names
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signed_by or key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="session")
def mint() -> Mint:
    """A root that signs what a test asks for."""
    return Mint()


@pytest.fixture
def make_request():
    """A maker of certificate requests."""
    return request
