"""What the driver asks of the reference mesh's issuer, held against the issuer itself."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.mesh.issuance import Request
from harness.mesh.reference_issuer import ReferenceIssuer
from reference_mesh.control_plane.identity import csr, issuer
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import identity_pb2

ID = "web.shop.serviceaccount.identity.linkerd.cluster.local"


@pytest.fixture
def reference() -> ReferenceIssuer:
    return ReferenceIssuer("linkerd", "cluster.local")


def asked(reference, request):
    """The message of a call, as the issuer reads it."""
    return identity_pb2.CertifyRequest.FromString(reference.certify(ID, "t" * 300, request).message)


def test_a_proper_request_is_one_for_the_issuer(reference) -> None:
    message = asked(reference, Request.PROPER)

    assert (message.identity, message.token) == (ID, b"t" * 300)
    assert csr.accepted_key(message.certificate_signing_request, ID)


@pytest.mark.parametrize("request_kind", [kind for kind in Request if kind is not Request.PROPER])
def test_every_other_request_is_refused(reference, request_kind) -> None:
    with pytest.raises(InvalidInput):
        csr.accepted_key(asked(reference, request_kind).certificate_signing_request, ID)


def data(resource) -> bytes:
    """The one trust bundle, or the issuer's certificate, of a resource."""
    if resource["kind"] == "ConfigMap":
        return resource["data"]["ca-bundle.crt"].encode()
    return resource["stringData"]["crt.pem"].encode()


def test_a_rotation_trusts_the_new_before_it_signs_and_forgets_the_old_last(reference) -> None:
    old = reference.trust_anchors()
    both, signing, new = reference.rotation()

    assert [step.restart for step in (both, signing, new)] == [True, False, True]
    bundle = data(both.resources[0]).decode()
    assert old in bundle
    assert reference.trust_anchors() in bundle
    assert data(new.resources[0]).decode() == reference.trust_anchors() != old


@pytest.mark.parametrize("how", ["replaced", "original", "rotation"])
def test_an_issuer_is_one_that_the_mesh_accepts(reference, how) -> None:
    made = {
        "replaced": lambda: reference.replaced(60.0),
        "original": reference.original,
        "rotation": lambda: [r for step in reference.rotation() for r in step.resources],
    }[how]()
    secret = next(resource for resource in made if resource["kind"] == "Secret")["stringData"]
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in secret.items()}
    starts = x509.load_pem_x509_certificate(secret["crt.pem"].encode()).not_valid_before_utc
    roots = x509.load_pem_x509_certificates(reference.trust_anchors().encode())

    found = issuer.load(encoded, roots, now=starts)

    assert found.certificate.public_bytes(serialization.Encoding.PEM).decode() == secret["crt.pem"]
