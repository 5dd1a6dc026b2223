from __future__ import annotations

import datetime as dt

import pytest

from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import acceptance, certificates
from reference_mesh.manifests.certificates import KeyPair

ANCHOR = certificates.make_trust_anchor("cluster.local")
ISSUER = certificates.make_issuer(ANCHOR, "cluster.local", "linkerd")
OTHER = certificates.make_trust_anchor("example.com")
BUNDLE = ANCHOR.certificate_pem


def test_made_issuer_is_accepted() -> None:
    acceptance.check_issuer(BUNDLE, ISSUER)


def test_anchor_may_be_one_of_several() -> None:
    acceptance.check_issuer(OTHER.certificate_pem + BUNDLE, ISSUER)


@pytest.mark.parametrize(
    ("bundle", "issuer", "said"),
    [
        (OTHER.certificate_pem, ISSUER, "not signed by any of the trust anchors"),
        (BUNDLE, KeyPair(ISSUER.certificate_pem, OTHER.key_pem), "another certificate"),
        (
            BUNDLE,
            KeyPair(ISSUER.certificate_pem, "garbage"),
            "key of issuer certificate: not an unencrypted",
        ),
        ("garbage", ISSUER, "trust anchors: not a PEM bundle"),
        (BUNDLE, KeyPair("garbage", ISSUER.key_pem), "issuer certificate: not a PEM bundle"),
    ],
    ids=["foreign root", "other key", "no key", "no anchors", "no certificate"],
)
def test_what_no_proxy_would_accept_is_refused(bundle: str, issuer: KeyPair, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        acceptance.check_issuer(bundle, issuer)


@pytest.mark.parametrize(("days", "said"), [(400, "expired on"), (-2, "not valid before")])
def test_certificate_out_of_its_time_is_refused(days: int, said: str) -> None:
    now = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    with pytest.raises(InvalidInput, match=said):
        acceptance.check_issuer(BUNDLE, ISSUER, now=now)


def test_key_is_never_shown() -> None:
    assert "PRIVATE" not in repr(ISSUER)
