"""Which issuers may sign, what they sign, and how long it is valid."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from reference_mesh.control_plane.identity import issuer as issuers
from reference_mesh.control_plane.identity import leaf
from reference_mesh.errors import InvalidInput

NOW = dt.datetime.now(tz=dt.UTC)
DAY = dt.timedelta(days=1)
ID = "web.shop.serviceaccount.identity.linkerd.cluster.local"


def load(secret, roots, now=NOW):
    return issuers.load(secret, roots, now=now)


@pytest.mark.parametrize("names", [("crt.pem", "key.pem"), ("tls.crt", "tls.key")])
def test_both_kinds_of_secret(mint, names):
    key, certificate = mint.issuer()
    issuer = load(mint.secret(key, certificate, names=names), [mint.root])
    assert issuer.chain == (certificate,)
    assert issuer.not_after == certificate.not_valid_after_utc


def test_rsa_issuer_signs(mint):
    key, certificate = mint.issuer(key=rsa.generate_private_key(65537, 2048))
    issuer = load(mint.secret(key, certificate), [mint.root])
    made = issue(issuer)
    x509.load_der_x509_certificate(made.certificate).verify_directly_issued_by(certificate)


def test_chain_through_an_intermediate(mint):
    middle_key, middle = mint.issuer()
    key = ec.generate_private_key(ec.SECP256R1())
    below = mint.certificate(
        "below", key.public_key(), ca=True, signer=middle, signer_key=middle_key
    )
    issuer = load(mint.secret(key, below, middle), [mint.root])
    assert issuer.chain == (below, middle)
    with pytest.raises(issuers.NotValid, match="no root"):
        load(mint.secret(key, below), [mint.root])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"not_after": NOW - dt.timedelta(minutes=1)}, "has expired at"),
        ({"not_before": NOW + DAY}, "valid only from"),
        ({"ca": False}, "not a certificate authority"),
    ],
)
def test_issuer_that_must_not_sign(mint, made, message):
    with pytest.raises(issuers.NotValid, match=message) as refused:
        load(mint.secret(*mint.issuer(**made)), [mint.root])
    assert str(refused.value).startswith("crt.pem: ")
    assert "`refmesh upgrade " in str(refused.value)


def test_issuer_of_another_root(mint):
    other = type(mint)()
    with pytest.raises(issuers.NotValid, match="no root of the trust bundle"):
        load(mint.secret(*other.issuer()), [mint.root])


@pytest.mark.parametrize("missing", ["crt.pem", "key.pem"])
def test_secret_without_one_half(mint, missing):
    secret = mint.secret(*mint.issuer())
    del secret[missing]
    with pytest.raises(InvalidInput, match=r"but neither crt\.pem"):
        load(secret, [mint.root])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "tls.crt",
            "LS0t",
            "tls.crt: is not PEM; replace certificate and ",
        ),
        (
            "tls.key",
            "LS0t",
            "tls.key: is not an unencrypted PEM key; replace certificate and ",
        ),
        ("tls.key", "a", "tls.key: is not base64; replace certificate and "),
    ],
)
def test_field_that_cannot_be_read_is_named(mint, field, value, message):
    secret = {**mint.secret(*mint.issuer(), names=("tls.crt", "tls.key")), field: value}
    with pytest.raises(InvalidInput) as refused:
        load(secret, [mint.root])
    assert str(refused.value).startswith(message)


def test_key_of_another_certificate(mint):
    (_, certificate), (key, _) = mint.issuer(), mint.issuer()
    with pytest.raises(InvalidInput, match=r"key\.pem: does not belong"):
        load(mint.secret(key, certificate), [mint.root])


def issue(issuer, lifetime_s=86_400.0):
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return leaf.issue(issuer, ID, key, now=NOW, lifetime_s=lifetime_s, clock_skew_s=20.0)


def test_leaf(mint):
    key, certificate = mint.issuer()
    made = issue(load(mint.secret(key, certificate), [mint.root]))
    parsed = x509.load_der_x509_certificate(made.certificate)
    parsed.verify_directly_issued_by(certificate)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [ID]
    assert parsed.not_valid_after_utc == made.valid_until
    assert [x509.load_der_x509_certificate(der) for der in made.intermediates] == [certificate]


def test_lifetime_counts_from_now_and_skew_does_not_lengthen_it():
    ends = NOW + DAY
    begins, until = leaf.validity(NOW, ends, lifetime_s=20.0, clock_skew_s=20.0)
    assert NOW - begins == dt.timedelta(seconds=20)
    assert dt.timedelta(seconds=19) < until - NOW <= dt.timedelta(seconds=20)


def test_leaf_ends_with_its_issuer(mint):
    key, certificate = mint.issuer(not_after=(NOW + dt.timedelta(hours=1)).replace(microsecond=0))
    made = issue(load(mint.secret(key, certificate), [mint.root]))
    assert made.valid_until == certificate.not_valid_after_utc


def test_long_identity_stands_in_the_alternative_name_alone(mint):
    issuer = load(mint.secret(*mint.issuer()), [mint.root])
    name = f"{'a' * 60}.{ID}"
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    made = leaf.issue(issuer, name, key, now=NOW, lifetime_s=60.0, clock_skew_s=0.0)
    parsed = x509.load_der_x509_certificate(made.certificate)
    assert not parsed.subject.rdns
    assert parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
