"""Certificates of the mesh as text, in the layout of `openssl x509 -text` that Linkerd prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

__all__ = ["described"]

_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "TLS Web Server Authentication",
    ExtendedKeyUsageOID.CLIENT_AUTH: "TLS Web Client Authentication",
}


def described(pem: str) -> str:
    """
    The first certificate of a PEM text, in lines.

    Raises:
        ValueError: there is none, or it does not parse.

    """
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return "".join(f"{line}\n" for line in _lines(certificate))


def _lines(shown: x509.Certificate) -> Iterator[str]:
    yield "Certificate:"
    yield "    Data:"
    yield f"        Version: {shown.version.value + 1} ({shown.version.value:#x})"
    yield f"        Serial Number: {shown.serial_number} ({shown.serial_number:#x})"
    yield f"        Issuer: {_name(shown.issuer)}"
    yield "        Validity"
    yield f"            Not Before: {_time(shown.not_valid_before_utc)}"
    yield f"            Not After : {_time(shown.not_valid_after_utc)}"
    yield f"        Subject: {_name(shown.subject)}"
    yield f"        Subject Public Key: {_key(shown)}"
    extensions = [line for each in shown.extensions for line in _extension(each)]
    if extensions:
        yield "        X509v3 extensions:"
        yield from (f"            {line}" for line in extensions)
    yield f"    Signature Algorithm: {_signature(shown)}"
    yield f"    SHA256 Fingerprint: {shown.fingerprint(hashes.SHA256()).hex(':').upper()}"


def _extension(extension: x509.Extension[x509.ExtensionType]) -> Iterator[str]:
    critical = " critical" if extension.critical else ""
    match extension.value:
        case x509.SubjectAlternativeName() as names:
            told = [_alternative(name) for name in names]
            title = "Subject Alternative Name"
        case x509.ExtendedKeyUsage() as usages:
            told = [_USAGES.get(usage, usage.dotted_string) for usage in usages]
            title = "Extended Key Usage"
        case x509.KeyUsage() as usage:
            bits = ("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
            told = [bit.replace("_", " ").title() for bit in bits if getattr(usage, bit)]
            title = "Key Usage"
        case x509.BasicConstraints() as constraints:
            told, title = [f"CA:{str(constraints.ca).upper()}"], "Basic Constraints"
        case _:
            return
    yield f"X509v3 {title}:{critical}"
    yield f"    {', '.join(told)}"


def _alternative(name: x509.GeneralName) -> str:
    kinds = {x509.DNSName: "DNS", x509.UniformResourceIdentifier: "URI", x509.IPAddress: "IP"}
    return f"{kinds.get(type(name), type(name).__name__)}:{name.value}"


def _name(name: x509.Name) -> str:
    return name.rfc4514_string() or "(none)"


def _key(shown: x509.Certificate) -> str:
    key = shown.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name} ({key.key_size} bit)"
    return type(key).__name__


def _signature(shown: x509.Certificate) -> str:
    digest = shown.signature_hash_algorithm
    if digest is None:
        return shown.signature_algorithm_oid.dotted_string
    kind = "ECDSA" if isinstance(shown.signature_algorithm_parameters, ec.ECDSA) else "RSA"
    return f"{kind}-{digest.name.upper()}"


def _time(moment: dt.datetime) -> str:
    return moment.strftime("%b %e %H:%M:%S %Y UTC")
