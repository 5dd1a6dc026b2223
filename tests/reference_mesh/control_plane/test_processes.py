"""The processes as they run: flags, start, work and end, against the embedded API server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from typing import Any

import grpc
import httpx2
import pytest
import uvicorn
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.cluster.embedded import seed
from harness.cluster.embedded.api.app import build_app
from harness.cluster.embedded.api.operations import Operations
from harness.cluster.embedded.api.tokens import Tokens
from harness.cluster.embedded.store import Store
from harness.waiting import until
from reference_mesh.control_plane import wire
from reference_mesh.manifests import certificates
from reference_mesh.proto.gen import (
    destination_pb2,
    destination_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    outbound_pb2,
    outbound_pb2_grpc,
)

pytestmark = pytest.mark.cluster

ID = "web.shop.serviceaccount.identity.linkerd.cluster.local"
ADMIN = "token-of-the-test"


class NoNode:
    """Stands where the node agent would: these tests start no pod."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no pod runs in this test, but {name} was asked for")


@pytest.fixture(scope="module")
def api():
    """An API server of the embedded cluster, and a client of it."""
    store = Store()
    app = build_app(Operations(store, NoNode()), NoNode(), Tokens(store, ADMIN))
    seed.plant(store, "test")
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, what="API server started", timeout_s=10)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {ADMIN}"}
        ) as client:
            for name in ("linkerd", "shop"):
                create(client, "/api/v1/namespaces", "Namespace", name)
            create(client, "/api/v1/namespaces/shop/serviceaccounts", "ServiceAccount", "web")
            yield client
    finally:
        server.should_exit = True
        thread.join()


def create(client, path, kind, name, **fields):
    answer = client.post(
        path, json={"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
    )
    answer.raise_for_status()
    return answer.json()


@pytest.fixture
def start(api, tmp_path):
    """Start a component on free ports; it must end well when told to."""
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": str(api.base_url)}}],
        "users": [{"name": "u", "user": {"token": ADMIN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    (tmp_path / "values").write_text("identity: {issuer: {issuanceLifetime: 20s}}")
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig")}
    environment.pop("KUBERNETES_SERVICE_HOST", None)

    @contextlib.contextmanager
    def started(component, *more, **ports):
        flags = list(more)
        flags += [f"--{name.replace('_', '-')}=127.0.0.1:{port}" for name, port in ports.items()]
        command = [sys.executable, "-m", "reference_mesh.control_plane", component]
        with subprocess.Popen(
            [*command, f"--config={tmp_path / 'values'}", *flags],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                log = process.communicate(timeout=10)[1]
        assert process.returncode == 0, log
        assert "Traceback" not in log

    return started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ready(port) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx2.TransportError:
        return False


def request() -> bytes:
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(ID)]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def token(api, *audiences):
    path = "/api/v1/namespaces/shop/serviceaccounts/web/token"
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    answer = api.post(path, json={**kind, "spec": {"audiences": list(audiences)}})
    answer.raise_for_status()
    return answer.json()["status"]["token"].encode()


def test_identity(api, start):
    """A call made before there is an issuer is held, and answered once there is one."""
    port, admin = free_port(), free_port()
    with (
        start("identity", addr=port, admin_addr=admin),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = identity_pb2_grpc.IdentityStub(channel)
        asked = identity_pb2.CertifyRequest(
            identity=ID, token=token(api, "identity.l5d.io"), certificate_signing_request=request()
        )
        held = stub.Certify.future(asked, wait_for_ready=True, timeout=10)
        until(lambda: "certify_total" in metrics(admin), what="identity serves", timeout_s=10)
        assert not held.done()
        assert not ready(admin)
        anchor = certificates.make_trust_anchor("cluster.local")
        issuer = certificates.make_issuer(anchor, "cluster.local", "linkerd")
        where = "/api/v1/namespaces/linkerd"
        bundle = {"ca-bundle.crt": anchor.certificate_pem}
        create(api, f"{where}/configmaps", "ConfigMap", "linkerd-identity-trust-roots", data=bundle)
        pair = {"crt.pem": issuer.certificate_pem, "key.pem": issuer.key_pem}
        create(api, f"{where}/secrets", "Secret", "linkerd-identity-issuer", stringData=pair)
        assert held.result().leaf_certificate
        assert ready(admin)

        asked.token = token(api)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Certify(asked, timeout=10)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION

        events = until(
            lambda: api.get(f"{where}/events").json()["items"],
            what="event of the certificate",
            timeout_s=5,
        )
        assert events[0]["reason"] == "IssuedLeafCertificate"


def metrics(admin) -> str:
    try:
        return httpx2.get(f"http://127.0.0.1:{admin}/metrics").text
    except httpx2.TransportError:
        return ""


def test_destination(api, start, tmp_path):
    """Watches follow the cluster, with none of the mesh's own kinds installed."""
    ports = {"addr": free_port(), "policy_addr": free_port(), "admin_addr": free_port()}
    pair = certificates.make_webhook(["localhost"])
    (tmp_path / "tls.crt").write_text(pair.certificate_pem)
    (tmp_path / "tls.key").write_text(pair.key_pem)
    validator = free_port()
    create(
        api,
        "/api/v1/namespaces/shop/services",
        "Service",
        "web",
        spec={"clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
    )
    with (
        start("destination", f"--tls-dir={tmp_path}", validator_addr=validator, **ports),
        grpc.insecure_channel(f"127.0.0.1:{ports['addr']}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{ports['policy_addr']}") as policy_channel,
    ):
        until(lambda: ready(ports["admin_addr"]), what="destination ready", timeout_s=10)
        updates = destination_pb2_grpc.DestinationStub(channel).Get(
            destination_pb2.GetDestination(path="web.shop.svc.cluster.local:80"), timeout=10
        )
        assert next(updates).no_endpoints.exists
        api.post(
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
            json={
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"port": 8080}],
                "endpoints": [{"addresses": ["10.244.0.9"]}],
            },
        ).raise_for_status()
        assert [address.addr.port for address in next(updates).add.addrs] == [8080]
        watch = outbound_pb2_grpc.OutboundPoliciesStub(policy_channel).Watch(
            outbound_pb2.TrafficSpec(
                source_workload="shop:web", addr=wire.address(("10.96.0.7", 80))
            ),
            timeout=10,
        )
        assert next(watch).metadata.resource.name == "web"
        trusted = ssl.create_default_context(cadata=pair.certificate_pem)
        until(lambda: handshake(validator, trusted), what="validator serves", timeout_s=10)


def handshake(port, context) -> bool:
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 64, "COMPONENT is one of"),
        (["identity", "--config=/nowhere/values"], 1, "is ConfigMap linkerd-config mounted?"),
    ],
)
def test_what_cannot_start(arguments, code, message):
    ended = subprocess.run(
        [sys.executable, "-m", "reference_mesh.control_plane", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
