"""Forged certificates are right in everything but what a check needs wrong."""

from __future__ import annotations

import datetime as dt
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from harness.mesh.authority import Authority
from harness.mesh.protocol import Validity

if TYPE_CHECKING:
    from pathlib import Path

NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local"


def verify(authority: Authority, validity: Validity, anchor: Authority) -> None:
    leaf, *chain = x509.load_pem_x509_certificates(
        authority.issue(NAME, validity).chain_pem.encode()
    )
    anchors = Store(x509.load_pem_x509_certificates(anchor.anchor_pem.encode()))
    verifier = (
        PolicyBuilder()
        .store(anchors)
        .time(dt.datetime.now(dt.UTC))
        .build_server_verifier(x509.DNSName(NAME))
    )
    verifier.verify(leaf, chain)


def test_a_leaf_verifies_under_its_own_anchor() -> None:
    authority = Authority("identity.test")
    verify(authority, Validity(), authority)


@pytest.mark.parametrize(
    "validity", [Validity(-7200.0, -3600.0), Validity(3600.0, 7200.0)], ids=["expired", "early"]
)
def test_dates_are_the_only_thing_wrong(validity: Validity) -> None:
    authority = Authority("identity.test")
    with pytest.raises(VerificationError, match="valid at"):
        verify(authority, validity, authority)


def test_another_authority_of_the_same_name_is_foreign() -> None:
    with pytest.raises(VerificationError):
        verify(Authority("identity.test"), Validity(), Authority("identity.test"))


def test_a_renewed_issuer_keeps_the_anchor() -> None:
    authority = Authority("identity.test")
    before = (authority.anchor_pem, authority.issuer_pem)
    authority.renew_issuer()
    assert (authority.anchor_pem == before[0], authority.issuer_pem == before[1]) == (True, False)
    verify(authority, Validity(), authority)


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    files = Authority("identity.test").write(tmp_path)
    assert stat.S_IMODE(files.issuer_key.stat().st_mode) == 0o600
