"""Replacement of the issuer while the component runs."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from cryptography import x509

from reference_mesh.control_plane.identity.authority import Authority

NOW = dt.datetime.now(tz=dt.UTC)
GARBLED = x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"no DER")


@pytest.fixture
def events():
    return []


@pytest.fixture
def authority(events):
    return Authority(events.append, namespace="mesh")


def reasons(events):
    return [event.reason for event in events]


def test_nothing_is_said_about_the_first_issuer(authority, events, mint):
    authority.secret_changed(mint.secret(*mint.issuer()))
    assert authority.usable is None
    authority.bundle_changed(mint.bundle())
    assert authority.usable is not None
    assert authority.ttl_s > 3600
    assert reasons(events) == []


def test_rotation(authority, events, mint):
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer()))
    key, certificate = mint.issuer()
    authority.secret_changed(mint.secret(key, certificate))
    assert authority.usable.certificate == certificate
    assert reasons(events) == ["IssuerUpdated"]


def test_rotation_of_the_root_in_any_order(authority, events, mint):
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer()))
    other = type(mint)()
    key, certificate = other.issuer()
    authority.secret_changed(mint.secret(key, certificate))
    assert reasons(events) == ["IssuerValidationFailed"]
    authority.bundle_changed(mint.bundle(mint.root, other.root))
    assert authority.usable.certificate == certificate
    assert reasons(events) == ["IssuerValidationFailed", "IssuerUpdated"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"not_after": NOW - dt.timedelta(minutes=1)}, "IssuerValidationFailed"),
        ({"constraints": GARBLED}, "IssuerValidationFailed"),
        (None, "IssuerUpdateSkipped"),
    ],
)
def test_a_bad_issuer_never_replaces_a_good_one(authority, events, mint, made, reason):
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer()))
    good = authority.usable
    bad = {} if made is None else mint.secret(*mint.issuer(**made))
    authority.secret_changed(bad)
    authority.secret_changed(bad)
    assert authority.usable is good
    assert reasons(events) == [reason]
    assert events[0].message.startswith("Secret mesh/linkerd-identity-issuer, ")
    assert "replace certificate and key with `refmesh upgrade " in events[0].message


def test_bad_bundle_is_named(authority, events, mint):
    authority.secret_changed(mint.secret(*mint.issuer()))
    authority.bundle_changed({"ca-bundle.crt": "none"})
    where = "ConfigMap mesh/linkerd-identity-trust-roots, ca-bundle.crt: holds no "
    assert events[0].message.startswith(where)
    assert "`refmesh upgrade --identity-trust-anchors-file=ROOT " in events[0].message


def test_deleted_secret_leaves_the_issuer_in_force(authority, mint):
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer()))
    authority.secret_changed(None)
    assert authority.usable is not None


def test_expired_issuer_is_not_used(events, mint):
    clock = [NOW]
    authority = Authority(events.append, namespace="mesh", now=lambda: clock[0])
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer(not_after=NOW + dt.timedelta(minutes=5))))
    assert authority.usable is not None
    clock[0] += dt.timedelta(minutes=5)
    assert authority.usable is None
    assert authority.ttl_s == 0.0
    authority.look_at_clock()
    assert "Secret mesh/linkerd-identity-issuer: the issuer has expired at " in events[0].message
    assert "`refmesh upgrade " in events[0].message


def test_issuer_of_tomorrow_is_taken_over_when_its_time_comes(events, mint):
    clock = [NOW]
    authority = Authority(events.append, namespace="mesh", now=lambda: clock[0])
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer(not_after=NOW + dt.timedelta(seconds=50))))
    old = authority.usable
    key, certificate = mint.issuer(not_before=NOW + dt.timedelta(seconds=30))
    authority.secret_changed(mint.secret(key, certificate))
    assert authority.usable is old
    assert reasons(events) == ["IssuerValidationFailed"]
    assert 29 < authority.look_at_clock() <= 30
    clock[0] += dt.timedelta(seconds=31)
    authority.look_at_clock()
    assert authority.usable.certificate == certificate
    assert reasons(events) == ["IssuerValidationFailed", "IssuerUpdated"]


def test_calls_are_held_until_the_first_issuer_may_sign(events, mint):
    async def scenario():
        authority = Authority(events.append, namespace="mesh")
        # Certificates know whole seconds: 0.3 to 1.3 s are left of this.
        soon = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=1.3)
        watching = asyncio.ensure_future(authority.run())
        waiting = asyncio.ensure_future(authority.wait_usable())
        await asyncio.sleep(0)
        authority.bundle_changed(mint.bundle())
        authority.secret_changed(mint.secret(*mint.issuer(not_before=soon)))
        assert authority.usable is None
        async with asyncio.timeout(5):
            assert await waiting is authority.usable
        watching.cancel()

    asyncio.run(scenario())


def test_issuer_replaced_before_its_time_is_forgotten(events, mint):
    clock = [NOW]
    authority = Authority(events.append, namespace="mesh", now=lambda: clock[0])
    authority.bundle_changed(mint.bundle())
    authority.secret_changed(mint.secret(*mint.issuer(not_before=NOW + dt.timedelta(hours=1))))
    key, certificate = mint.issuer()
    authority.secret_changed(mint.secret(key, certificate))
    clock[0] += dt.timedelta(hours=2)
    authority.look_at_clock()
    assert authority.usable.certificate == certificate


def test_expiry_is_told_and_recovered_from(events, mint):
    async def scenario():
        told = asyncio.Event()
        authority = Authority(lambda event: (events.append(event), told.set()), namespace="mesh")
        # Certificates know whole seconds: 0.3 to 1.3 s are left of this.
        soon = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=1.3)
        authority.bundle_changed(mint.bundle())
        authority.secret_changed(mint.secret(*mint.issuer(not_after=soon)))
        watching = asyncio.ensure_future(authority.run())
        await told.wait()
        assert authority.usable is None
        waiting = asyncio.ensure_future(authority.wait_usable())
        await asyncio.sleep(0)
        key, certificate = mint.issuer()
        authority.secret_changed(mint.secret(key, certificate))
        assert (await waiting).certificate == certificate
        watching.cancel()

    asyncio.run(scenario())
    assert reasons(events) == ["IssuerValidationFailed", "IssuerUpdated"]
