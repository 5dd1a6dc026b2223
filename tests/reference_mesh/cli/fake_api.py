"""A Kubernetes API with nothing behind it: it keeps what it is given, and finds it again."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Protocol

from reference_mesh.manifests import documents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Deployment": "deployments",
    "EndpointSlice": "endpointslices",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "Namespace": "namespaces",
    "Node": "nodes",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
WEBHOOKS = {
    "networkauthentications": "policy-validator",
    "pods": "proxy-injector",
    "serviceprofiles": "sp-validator",
}
NOT_FOUND = {"kind": "Status", "code": 404, "message": "not found"}


class FakeApi:
    """
    Objects by path; `pages` are answered as they are, as text of a pod's port.

    deaf: webhooks that the API server does not reach, with failure policy Ignore.
    denied: verb and resource of what access reviews refuse. date: of every answer, if not now;
    empty, it is not told.
    """

    def __init__(self) -> None:
        self.deaf: set[str] = set()
        self.denied: set[tuple[str, str]] = set()
        self.refused: dict[str, str] = {}
        self.version = "v1.34.0"
        self.date: str | None = None
        self.objects: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, tuple[int, str]] = {}
        self.kubeconfig = ""

    def apply(self, text: str) -> None:
        for document in documents.load_all(text, "applied"):
            self.add(document)

    def add(self, document: dict[str, Any]) -> dict[str, Any]:
        version, metadata = document["apiVersion"], document["metadata"]
        prefix = "/api/v1" if version == "v1" else f"/apis/{version}"
        namespace = metadata.get("namespace")
        inside = f"/namespaces/{namespace}" if namespace else ""
        path = f"{prefix}{inside}/{PLURALS[document['kind']]}/{metadata['name']}"
        if "status" in self.objects.get(path, {}):
            document.setdefault("status", self.objects[path]["status"])
        self.objects[path] = document
        return document

    def add_meshed(self, name: str = "web-0") -> dict[str, Any]:
        """A pod in the mesh, whose proxy has had its certificate for an hour of 24."""
        prefix, now_s = "control_identity_cert", time.time()
        self.pages[f"/api/v1/namespaces/shop/pods/{name}:4191/proxy/metrics"] = (
            200,
            (
                f"{prefix}_refresh_timestamp_seconds {now_s - 3600}\n"
                f"{prefix}_expiration_timestamp_seconds {now_s + 23 * 3600}\n"
            ),
        )
        roots = self.of("ConfigMap", "linkerd-identity-trust-roots")["data"]["ca-bundle.crt"]
        annotations = {
            "linkerd.io/proxy-version": "0.1.0",
            "linkerd.io/trust-root-sha256": hashlib.sha256(roots.encode()).hexdigest(),
        }
        return self.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": "shop",
                    "labels": {"linkerd.io/control-plane-ns": "linkerd", "app": "web"},
                    "annotations": annotations,
                },
                "spec": {
                    "containers": [],
                    "initContainers": [
                        {"name": "linkerd-proxy", "image": "meshmark.dev/proxy:0.1.0"}
                    ],
                },
                "status": {
                    "phase": "Running",
                    "podIP": "10.244.0.7",
                    "initContainerStatuses": [
                        {"name": "linkerd-proxy", "ready": True, "state": {}}
                    ],
                },
            }
        )

    def remove(self, kind: str, name: str) -> None:
        """Take an object away."""
        self.objects = {p: o for p, o in self.objects.items() if o is not self.of(kind, name)}

    def of(self, kind: str, name: str) -> dict[str, Any]:
        found = [o for p, o in self.objects.items() if p.endswith(f"/{PLURALS[kind]}/{name}")]
        return found[0]

    def answer(
        self, method: str, path: str, query: dict[str, str], body: bytes = b""
    ) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"gitVersion": self.version}
        if method == "POST":
            return self._made(path, json.loads(body))
        if path in self.pages:
            return self.pages[path]
        if path in self.objects:
            return 200, self.objects[path]
        if path.rpartition("/")[2] in PLURALS.values():
            return 200, {"items": self._items(path, query.get("labelSelector", ""))}
        return 404, NOT_FOUND

    def _made(self, path: str, document: dict[str, Any]) -> tuple[int, Any]:
        """A review is answered; a pod is injected; anything else is wrong, says its webhook."""
        if "resourceAttributes" in document["spec"]:
            asked = document["spec"]["resourceAttributes"]
            allowed = (asked["verb"], asked["resource"]) not in self.denied
            return 201, {"status": {"allowed": allowed}}
        plural = path.rpartition("/")[2]
        if plural in self.refused:
            return 403, {"kind": "Status", "code": 403, "message": self.refused[plural]}
        hook = WEBHOOKS[plural]
        if hook in self.deaf:
            return 201, document
        if plural == "pods":
            document["spec"]["initContainers"] = [{"name": "linkerd-proxy"}]
            return 201, document
        message = f'admission webhook "linkerd-{hook}.linkerd.io" denied the request: wrong'
        return 400, {"kind": "Status", "code": 400, "message": message}

    def _items(self, path: str, selector: str) -> list[dict[str, Any]]:
        prefix, _, plural = path.rpartition("/")
        return [
            document
            for place, document in self.objects.items()
            if place.startswith(prefix)
            and place.split("/")[-2] == plural
            and matches(document["metadata"].get("labels") or {}, selector)
        ]


def matches(labels: dict[str, str], selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if key.startswith("!"):
            if key[1:] in labels:
                return False
        elif key not in labels or (equals and labels[key] != value):
            return False
    return True


class Api(Protocol):
    """What answers for an API server. date: of every answer, if not now; empty, it is not told."""

    date: str | None

    def answer(
        self, method: str, path: str, query: dict[str, str], body: bytes = b""
    ) -> tuple[int, Any]:
        """Status and body, text or what JSON is made of."""


@contextlib.contextmanager
def listening(api: Api, kubeconfig: Path) -> Iterator[None]:
    """Let `api` answer over HTTP, where the kubeconfig that is written says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("GET")

        def do_POST(self) -> None:
            self.reply("POST", self.rfile.read(int(self.headers["content-length"])))

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(timestamp) if api.date is None else api.date

        def reply(self, method: str, given: bytes = b"") -> None:
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query))
            status, body = api.answer(method, url.path, query, given)
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    at = f"http://127.0.0.1:{server.server_port}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": at}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    kubeconfig.write_text(json.dumps(config))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
