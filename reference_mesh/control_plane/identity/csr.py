"""
What a certificate request must look like (the rules of Linkerd's identity service).

DER, signed by its own key, an ECDSA P-256 key, exactly one DNS name, which is the identity that
is asked for, no name of another type, and a common name that is empty or the same.
"""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from reference_mesh.errors import InvalidInput

__all__ = ["MAX_CSR_BYTES", "accepted_key", "common_names_fit", "key_fits", "names_fit", "parse"]

MAX_CSR_BYTES = 8192
"""Far above any request for one name with a P-256 key, which is under 600 bytes."""


def accepted_key(der: bytes, identity: str) -> ec.EllipticCurvePublicKey:
    """
    Public key of a request for this identity.

    Raises:
        InvalidInput: the request breaks a rule; the message says which.

    """
    request = parse(der)
    key = key_fits(request)
    names_fit(request, identity)
    common_names_fit(request, identity)
    return key


def parse(der: bytes) -> x509.CertificateSigningRequest:
    """
    Read a request and check that its own key has signed it.

    Raises:
        InvalidInput: too large, not DER, or signed by another key.

    """
    if not der:
        raise InvalidInput("the certificate signing request is empty")
    if len(der) > MAX_CSR_BYTES:
        raise InvalidInput(f"the certificate signing request is over {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_der_x509_csr(der)
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidInput("the certificate signing request is not DER of PKCS #10") from error
    if not signed:
        raise InvalidInput("the certificate signing request is not signed by its own key")
    return request


def key_fits(request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """
    The key of a request, if it is of the one type that the mesh uses.

    Raises:
        InvalidInput: not an ECDSA key on P-256.

    """
    try:
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput("the key of the certificate signing request is not readable") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("the key of the certificate signing request is not ECDSA P-256")
    return key


def names_fit(request: x509.CertificateSigningRequest, identity: str) -> None:
    """
    Check the alternative names of a request.

    Raises:
        InvalidInput: not exactly the identity as one DNS name.

    """
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise InvalidInput("the certificate signing request has no alternative name") from error
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise InvalidInput("the alternative names of the request are not readable") from error
    names = list(found)
    if len(names) != 1 or not isinstance(names[0], x509.DNSName):
        raise InvalidInput("the certificate signing request must have one DNS name and no other")
    if names[0].value != identity:
        raise InvalidInput(f"the request names {names[0].value!r}, but asks to be {identity!r}")


def common_names_fit(request: x509.CertificateSigningRequest, identity: str) -> None:
    """
    Check the subject of a request.

    Raises:
        InvalidInput: a common name that is neither empty nor the identity.

    """
    with warnings.catch_warnings():
        # Linkerd's proxies repeat the identity here, also where X.509 wants 64 bytes at most.
        warnings.filterwarnings("ignore", message="Attribute's length")
        try:
            subject = request.subject
        except ValueError as error:
            raise InvalidInput("the subject of the request is not readable") from error
    for attribute in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        if attribute.value not in {"", identity}:
            raise InvalidInput(
                f"the request's common name {attribute.value!r} is not the identity {identity!r}"
            )
