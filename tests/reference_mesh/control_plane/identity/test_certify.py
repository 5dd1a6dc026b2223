"""`Certify` over real sockets, with the token review replaced at the edge."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt

import grpc
import grpc.aio
import httpx2
import pytest
from cryptography import x509

from reference_mesh.control_plane import serving
from reference_mesh.control_plane.identity.authority import Authority
from reference_mesh.control_plane.identity.certify import Certifier
from reference_mesh.control_plane.identity.tokens import account_of
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import identity_pb2, identity_pb2_grpc

ID = "web.shop.serviceaccount.identity.linkerd.cluster.local"


class Reviewer:
    """Knows one token; can be away for a number of calls."""

    def __init__(self) -> None:
        self.away = 0

    async def review(self, token):
        if self.away:
            self.away -= 1
            raise httpx2.ConnectError("refused")
        if token != "good":
            raise InvalidInput("the token is not authenticated")
        return "shop", "web"


class Identity:
    """A served identity component without a cluster."""

    def __init__(self, chosen) -> None:
        self.events = []
        self.reviewer = Reviewer()
        self.authority = Authority(self.events.append, namespace="linkerd")
        self.certifier = Certifier(
            chosen, self.authority, self.reviewer, self.events.append, held_s=0.5
        )

    @contextlib.asynccontextmanager
    async def client(self):
        async with (
            serving.serving([self.certifier.handler()], address="127.0.0.1:0") as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield identity_pb2_grpc.IdentityStub(channel)


@pytest.fixture
def identity(chosen, mint):
    component = Identity(chosen)
    component.authority.bundle_changed(mint.bundle())
    component.authority.secret_changed(mint.secret(*mint.issuer()))
    return component


def certify(identity, *, name=ID, token=b"good", csr):
    async def call():
        async with identity.client() as stub:
            return await stub.Certify(
                identity_pb2.CertifyRequest(
                    identity=name, token=token, certificate_signing_request=csr
                )
            )

    return asyncio.run(call())


def test_certificate(identity, make_request):
    answer = certify(identity, csr=make_request(ID))
    leaf = x509.load_der_x509_certificate(answer.leaf_certificate)
    (above,) = map(x509.load_der_x509_certificate, answer.intermediate_certificates)
    leaf.verify_directly_issued_by(above)
    until = answer.valid_until.ToDatetime(tzinfo=dt.UTC)
    assert until == leaf.not_valid_after_utc
    (event,) = identity.events
    assert event.reason == "IssuedLeafCertificate"
    assert ID in event.message


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"token": b""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"token": b"\xff"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"csr": b"not DER"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"token": b"bad"}, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_refusals(identity, make_request, wrong, code):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        certify(identity, **{"csr": make_request(ID), **wrong})
    assert refused.value.code() is code
    assert identity.events == []


def test_token_of_another_account(identity, make_request):
    other = ID.replace("web", "db")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        certify(identity, name=other, csr=make_request(other))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_call_is_held_until_the_token_review_answers(identity, make_request):
    identity.reviewer.away = 1
    assert certify(identity, csr=make_request(ID)).leaf_certificate


def test_call_is_held_until_there_is_an_issuer(chosen, mint, make_request):
    identity = Identity(chosen)
    identity.authority.secret_changed(mint.secret(*mint.issuer()))

    async def call():
        async with identity.client() as stub:
            pending = asyncio.ensure_future(
                stub.Certify(
                    identity_pb2.CertifyRequest(
                        identity=ID, token=b"good", certificate_signing_request=make_request(ID)
                    )
                )
            )
            done, _ = await asyncio.wait([pending], timeout=0.1)
            assert not done
            identity.authority.bundle_changed(mint.bundle())
            return await pending

    assert asyncio.run(call()).leaf_certificate


def test_holding_is_bounded(chosen, make_request):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        certify(Identity(chosen), csr=make_request(ID))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def status(**changes):
    return {
        "authenticated": True,
        "audiences": ["identity.l5d.io"],
        "user": {"username": "system:serviceaccount:shop:web"},
        **changes,
    }


def test_reviewed_account():
    assert account_of(status()) == ("shop", "web")


@pytest.mark.parametrize(
    "changes",
    [
        {"authenticated": False},
        {"audiences": ["https://kubernetes.default.svc"]},
        {"audiences": None},
        {"error": "expired"},
        {"user": {"username": "admin"}},
        {"user": {"username": "system:serviceaccount:shop"}},
        {"user": None},
    ],
)
def test_reviews_that_refuse(changes):
    with pytest.raises(InvalidInput) as refused:
        account_of(status(**changes))
    assert str(refused.value).startswith("token: ")
    assert "audience identity.l5d.io" in str(refused.value)
    assert "create the pod again" in str(refused.value)
