"""Certificate requests: one shape is accepted, every deviation is refused by its name."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from reference_mesh.control_plane.identity import csr
from reference_mesh.errors import InvalidInput

ID = "web.shop.serviceaccount.identity.linkerd.cluster.local"


@pytest.mark.parametrize("common_name", [None, ID])
def test_proper_request(make_request, common_name):
    key = ec.generate_private_key(ec.SECP256R1())
    der = make_request(ID, key=key, common_name=common_name)
    assert csr.accepted_key(der, ID) == key.public_key()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": []}, "no alternative name"),
        ({"names": [x509.DNSName("other")]}, "asks to be"),
        ({"names": [x509.DNSName(ID), x509.DNSName("more")]}, "one DNS name and no other"),
        (
            {"names": [x509.DNSName(ID), x509.IPAddress(ipaddress.ip_address("10.0.0.1"))]},
            "one DNS name and no other",
        ),
        ({"names": [x509.UniformResourceIdentifier("spiffe://a/b")]}, "one DNS name"),
        ({"names": [x509.DNSName(ID), x509.RFC822Name("a@b.c")]}, "one DNS name and no other"),
        ({"common_name": "other"}, "common name"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "not ECDSA P-256"),
        ({"key": rsa.generate_private_key(65537, 2048)}, "not ECDSA P-256"),
    ],
)
def test_refused(make_request, given, message):
    with pytest.raises(InvalidInput, match=message):
        csr.accepted_key(make_request(ID, **given), ID)


def test_ed25519_is_refused():
    key = ed25519.Ed25519PrivateKey.generate()
    der = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(ID)]), critical=False)
        .sign(key, None)
        .public_bytes(serialization.Encoding.DER)
    )
    with pytest.raises(InvalidInput, match="not ECDSA P-256"):
        csr.accepted_key(der, ID)


def test_signature_by_another_key_is_refused(make_request):
    der = bytearray(make_request(ID))
    der[-1] ^= 1
    with pytest.raises(InvalidInput, match="its own key"):
        csr.accepted_key(bytes(der), ID)


def test_size_is_bounded(make_request):
    with pytest.raises(InvalidInput, match="over 8192 bytes"):
        csr.accepted_key(make_request(ID) + b"\0" * 8192, ID)


@given(st.binary(max_size=300))
def test_garbage_is_refused(der):
    with pytest.raises(InvalidInput):
        csr.accepted_key(der, ID)


def test_common_name_beyond_what_x509_allows(make_request):
    """Linkerd's proxies repeat their identity there, of any length: no reason to warn."""
    long = f"{'a' * 63}.{ID}"
    assert csr.accepted_key(make_request(long, common_name=long), long)


def test_a_subject_that_is_no_text_is_refused(make_request):
    key = ec.generate_private_key(ec.SECP256R1())
    der = make_request(ID, key=key, common_name="other")
    assert der.count(b"\x0c\x05other") == 1
    body = bytearray(der.replace(b"\x0c\x05other", b"\x0c\x05\xff\xfe\xff\xfe\xff"))
    with pytest.raises(InvalidInput, match="its own key"):
        csr.accepted_key(bytes(body), ID)
    with pytest.raises(InvalidInput, match="subject of the request is not readable"):
        csr.common_names_fit(x509.load_der_x509_csr(bytes(body)), ID)
