"""
Components as processes, against the API server of the embedded cluster.

That server stores roles and enforces none, so `Gate` stands before it and enforces those of the
manifests, as kube-apiserver would.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
import uvicorn
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.responses import JSONResponse

from harness.cluster.embedded import seed
from harness.cluster.embedded.api.app import build_app
from harness.cluster.embedded.api.operations import Operations
from harness.cluster.embedded.api.tokens import Tokens
from harness.cluster.embedded.store import Store
from harness.waiting import until
from reference_mesh.control_plane.kube.denied import Call
from reference_mesh.manifests import certificates
from reference_mesh.proto.gen import identity_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADMIN = "token-of-the-test"
IDENTITY = "web.shop.serviceaccount.identity.linkerd.cluster.local"
LINKERD = "/api/v1/namespaces/linkerd"


class NoNode:
    """Stands where the node agent would: these tests start no pod."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no pod runs in this test, but {name} was asked for")


class Grant(NamedTuple):
    """One verb on one resource that a role gives; an empty namespace or name is any."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    def covers(self, call: Call) -> bool:
        place = self.namespace in {"", call.namespace} and self.name in {"", call.name}
        return self[:3] == call[:3] and place


class Gate:
    """
    Lets a service account do what its roles grant, and everybody else do everything.

    used: grants that let a call pass. denied: calls of accounts that nothing granted.
    """

    def __init__(self, app: Any, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens
        self.granted: dict[str, set[Grant]] = {}
        self.used: dict[str, set[Grant]] = {}
        self.denied: list[Call] = []

    def install(self, documents: list[dict[str, Any]]) -> None:
        """Grant what these roles and bindings grant, and nothing else."""
        self.granted, self.used, self.denied = {}, {}, []
        roles = {_key(item): item["rules"] for item in documents if "rules" in item}
        for item in documents:
            if "roleRef" not in item:
                continue
            namespace = item["metadata"].get("namespace", "")
            grants = _grants(roles[item["roleRef"]["kind"], item["roleRef"]["name"]], namespace)
            for subject in item["subjects"]:
                user = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
                self.granted.setdefault(user, set()).update(grants)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        found = self._tokens.user(headers.get(b"authorization", b"").decode().partition(" ")[2])
        user = found[0].name if found else ""
        if user.startswith("system:serviceaccount:linkerd:"):
            parameters = dict(httpx2.QueryParams(scope["query_string"].decode()))
            call = Call.of(scope["method"], scope["path"], parameters)
            fitting = {grant for grant in self.granted.get(user, ()) if grant.covers(call)}
            if not fitting:
                self.denied.append(call)
                message = f'{call.resource} is forbidden: User "{user}" cannot {call.verb} it'
                status = {"kind": "Status", "code": 403, "message": message}
                await JSONResponse(status, 403)(scope, receive, send)
                return
            self.used.setdefault(user, set()).update(fitting)
        await self._app(scope, receive, send)


def _key(document: dict[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def _grants(rules: list[dict[str, Any]], namespace: str) -> set[Grant]:
    return {
        Grant(verb, group, resource, namespace, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


class Api(httpx2.Client):
    """A client of the API server, as its administrator."""

    gate: Gate

    def make(self, path: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
        """Create an object of the core group."""
        return self.add(
            path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
        )

    def add(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        answer = self.post(path, json=document)
        answer.raise_for_status()
        return answer.json()

    def token(self, namespace: str, account: str, *audiences: str) -> str:
        """A token of a service account."""
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.add(path, {**kind, "spec": {"audiences": list(audiences)}})["status"]["token"]

    def plant_issuer(self) -> None:
        """Put an issuer and its root where identity looks for them."""
        anchor = certificates.make_trust_anchor("cluster.local")
        issuer = certificates.make_issuer(anchor, "cluster.local", "linkerd")
        bundle = {"ca-bundle.crt": anchor.certificate_pem}
        roots = "linkerd-identity-trust-roots"
        self.make(f"{LINKERD}/configmaps", "ConfigMap", roots, data=bundle)
        pair = {"crt.pem": issuer.certificate_pem, "key.pem": issuer.key_pem}
        self.make(f"{LINKERD}/secrets", "Secret", "linkerd-identity-issuer", stringData=pair)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An API server of the embedded cluster, and a client of it."""
    store = Store()
    tokens = Tokens(store, ADMIN)
    gate = Gate(build_app(Operations(store, NoNode()), NoNode(), tokens), tokens)
    seed.plant(store, "test")
    server = uvicorn.Server(
        uvicorn.Config(gate, port=0, lifespan="off", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, what="API server started", timeout_s=10)
        port = server.servers[0].sockets[0].getsockname()[1]
        headers = {"authorization": f"Bearer {ADMIN}"}
        with Api(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            client.gate = gate
            for name in ("linkerd", "shop"):
                client.make("/api/v1/namespaces", "Namespace", name)
            client.make("/api/v1/namespaces/shop/serviceaccounts", "ServiceAccount", "web")
            yield client
    finally:
        server.should_exit = True
        thread.join()


class Component:
    """
    A component that runs. Its ports are free ones, by the name of their flag.

    log: all that it wrote, once it has ended.
    """

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self.log = ""

    def ready(self) -> bool:
        """Whether it says that it can work."""
        try:
            return self._admin("ready").status_code == 200
        except httpx2.TransportError:
            return False

    def metrics(self) -> str:
        """What it counts; empty before it serves."""
        try:
            return self._admin("metrics").text
        except httpx2.TransportError:
            return ""

    def _admin(self, page: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.ports['admin_addr']}/{page}")


@pytest.fixture
def start(api: Api, tmp_path: Path) -> Callable[..., Any]:
    """Start a component; it must end well when told to. token: whom the API takes it for."""
    (tmp_path / "values").write_text("identity: {issuer: {issuanceLifetime: 20s}}")

    @contextlib.contextmanager
    def started(
        component: str, *more: str, ports: tuple[str, ...], token: str = ADMIN
    ) -> Iterator[Component]:
        running = Component({name: free_port() for name in (*ports, "admin_addr")})
        kubeconfig = tmp_path / f"kubeconfig-{component}"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(str(api.base_url), token)))
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        environment.pop("KUBERNETES_SERVICE_HOST", None)
        flags = [f"--{n.replace('_', '-')}=127.0.0.1:{p}" for n, p in running.ports.items()]
        command = [sys.executable, "-m", "reference_mesh.control_plane", component]
        with subprocess.Popen(
            [*command, f"--config={tmp_path / 'values'}", *more, *flags],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield running
            finally:
                process.send_signal(signal.SIGTERM)
                running.log = process.communicate(timeout=10)[1]
        assert process.returncode == 0, running.log
        assert "Traceback" not in running.log

    return started


@pytest.fixture
def certify(api: Api) -> identity_pb2.CertifyRequest:
    """What the proxy of a pod of service account shop/web asks for."""
    signing_request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(IDENTITY)]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    token = api.token("shop", "web", "identity.l5d.io").encode()
    return identity_pb2.CertifyRequest(
        identity=IDENTITY, token=token, certificate_signing_request=signing_request
    )


@pytest.fixture
def trusted(tmp_path: Path) -> ssl.SSLContext:
    """Trust in the serving certificate for localhost that lies in the test's folder."""
    pair = certificates.make_webhook(["localhost"])
    (tmp_path / "tls.crt").write_text(pair.certificate_pem)
    (tmp_path / "tls.key").write_text(pair.key_pem)
    return ssl.create_default_context(cadata=pair.certificate_pem)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _kubeconfig(server: str, token: str) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
