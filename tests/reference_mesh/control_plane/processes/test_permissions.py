"""Each component, run as its service account: it needs all that its roles grant, and no more."""

from __future__ import annotations

import json

import grpc
import httpx2
import pytest

from harness.waiting import until
from reference_mesh.manifests import access, crds
from reference_mesh.proto.gen import identity_pb2_grpc

pytestmark = pytest.mark.cluster

LINKERD = "/api/v1/namespaces/linkerd"


@pytest.fixture(scope="module", autouse=True)
def definitions(api):
    """The mesh's own kinds, so that following them goes as far as a watch."""
    for document in crds.documents():
        api.add("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", document)
    for document in access.documents("linkerd"):
        if document["kind"] == "ServiceAccount":
            api.add(f"{LINKERD}/serviceaccounts", document)


@pytest.fixture
def roles(api):
    """The roles of the manifests, in force."""
    documents = access.documents("linkerd")
    api.gate.install(documents)
    return documents


def left_over(api, account):
    """What is granted to an account that it has not used yet."""
    user = f"system:serviceaccount:linkerd:{account}"
    return api.gate.granted[user] - api.gate.used.get(user, set())


def until_all_used(api, account):
    until(
        lambda: left_over(api, account),
        what=f"{account} has used all that it is granted",
        holds=lambda left: not left,
        timeout_s=10,
    )
    assert api.gate.denied == []


def test_identity(api, start, roles, certify):
    del roles
    api.plant_issuer()
    with (
        start("identity", ports=("addr",), token=api.token("linkerd", "linkerd-identity")) as it,
        grpc.insecure_channel(f"127.0.0.1:{it.ports['addr']}") as channel,
    ):
        stub = identity_pb2_grpc.IdentityStub(channel)
        assert stub.Certify(certify, wait_for_ready=True, timeout=10).leaf_certificate
        until_all_used(api, "linkerd-identity")


def destination(api, start, folder):
    ports = ("addr", "policy_addr", "validator_addr")
    token = api.token("linkerd", "linkerd-destination")
    return start("destination", f"--tls-dir={folder}", ports=ports, token=token)


def test_destination(api, start, roles, trusted, tmp_path):
    del roles, trusted
    with destination(api, start, tmp_path):
        until_all_used(api, "linkerd-destination")


def test_injector(api, start, roles, trusted, tmp_path):
    del roles
    (tmp_path / "ca-bundle.crt").write_text("anchors")
    flags = (f"--tls-dir={tmp_path}", f"--trust-anchors={tmp_path / 'ca-bundle.crt'}")
    token = api.token("linkerd", "linkerd-proxy-injector")
    with start("proxy-injector", *flags, ports=("addr",), token=token) as it:
        until(it.ready, what="injector ready", timeout_s=10)
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": "shop",
                "object": {"metadata": {"name": "web"}, "spec": {"containers": []}},
            },
        }
        url = f"https://localhost:{it.ports['addr']}/"
        answer = httpx2.post(url, json=review, verify=trusted)
        assert answer.json()["response"]["allowed"] is True, answer.text
        until_all_used(api, "linkerd-proxy-injector")


def test_what_is_denied_is_logged_and_counted(api, start, roles, trusted, tmp_path):
    del trusted
    role = next(item for item in roles if item["metadata"]["name"] == "linkerd-linkerd-destination")
    rule = next(rule for rule in role["rules"] if "endpointslices" in rule["resources"])
    rule["verbs"] = ["list"]
    api.gate.install(json.loads(json.dumps(roles)))
    counter = (
        'kubernetes_calls_denied_total{verb="watch",resource="endpointslices.discovery.k8s.io"}'
    )
    with destination(api, start, tmp_path) as it:
        until(lambda: counter in it.metrics(), what="a denial is counted", timeout_s=10)
    (line,) = {line.partition(" ")[2] for line in it.log.splitlines() if "denied" in line}
    assert line == (
        'level=error component=kube msg="denied by the Kubernetes API" verb=watch '
        'resource=endpointslices.discovery.k8s.io namespace="" name=""'
    )
