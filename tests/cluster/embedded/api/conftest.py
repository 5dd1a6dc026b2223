"""An API server over a node that does nothing, asked in process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from types import SimpleNamespace

import httpx2
import pytest
import trustme
import uvicorn

from harness.cluster.embedded.api.app import build_app
from harness.cluster.embedded.api.http1 import LimitedHttp
from harness.cluster.embedded.api.operations import Operations
from harness.cluster.embedded.api.tokens import Tokens
from harness.cluster.embedded.status import BadRequest
from harness.cluster.embedded.store import Store

ADMIN_TOKEN = "the-admin"


class FakeNode:
    """Keeps what it is told, and dials loopback whatever the address."""

    def __init__(self):
        self.lines = {}
        self.images = []
        self.asked = []
        self.ports = {}

    async def logs(self, namespace, pod, container, options):
        self.asked.append((namespace, pod, container, options))
        if container not in self.lines:
            raise BadRequest(f"container {container} in pod {pod} is waiting to start")
        for line in self.lines[container]:
            yield line

    async def connect(self, host, port):
        if (host, port) not in self.ports:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        return await asyncio.open_connection("127.0.0.1", self.ports[host, port])

    async def load_images(self, images):
        self.images += images

    async def processes(self, namespace, pod):
        self.asked.append((namespace, pod))
        return []


class Api:
    """The server, and a client that asks one request at a time."""

    def __init__(self):
        self.store = Store()
        self.node = FakeNode()
        self.operations = Operations(self.store, self.node)
        self.tokens = Tokens(self.store, ADMIN_TOKEN)
        self.app = build_app(self.operations, self.node, self.tokens)
        self.namespace("default")

    def namespace(self, name):
        self.run(self.operations.create(("", "namespaces"), {"metadata": {"name": name}}))
        account = {"metadata": {"name": "default", "namespace": name}}
        self.store.create(("", "serviceaccounts"), account)

    def run(self, coroutine):
        return asyncio.run(coroutine)

    async def asked(self, method, path, **kwargs):
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}", **kwargs.pop("headers", {})}
        transport = httpx2.ASGITransport(self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.request(method, path, headers=headers, **kwargs)

    def ask(self, method, path, body=None, *, type_="application/json", **kwargs):
        headers = {"content-type": type_, **kwargs.pop("headers", {})}
        if body is not None:
            kwargs["json"] = body
        return self.run(self.asked(method, path, headers=headers, **kwargs))

    def post(self, path, body, **kwargs):
        response = self.ask("POST", path, body, **kwargs)
        assert response.status_code == 201, response.text
        return response.json()

    def get(self, path, **kwargs):
        response = self.ask("GET", path, **kwargs)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture
def api():
    return Api()


def config_map(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name="p", **spec):
    container = {"name": "app", "image": "example/app:1"}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def deployment(name="web", **spec):
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "example/app:1"}]},
    }
    given = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": given,
    }


def widget_crd(**more):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                    "parts": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id"],
                        "items": {
                            "type": "object",
                            "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
                        },
                    },
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {
                "name": "Ready",
                "type": "string",
                "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
            },
        ],
        **more,
    }
    older = {**version, "name": "v1alpha1", "storage": False}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [older, version],
        },
    }


def widget(name="w", **spec):
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 1, **spec},
    }


class Served:
    """The server on a loopback port over TLS, in a thread; `on_loop` runs things beside it."""

    def __init__(self, folder):
        self.api = Api()
        self.token = ADMIN_TOKEN
        ca = trustme.CA()
        self.ca = folder / "ca.pem"
        ca.cert_pem.write_to_path(self.ca)
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "key.pem")
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self._kubeconfig())
        config = uvicorn.Config(
            self.api.app,
            http=LimitedHttp,
            ws="wsproto",
            lifespan="off",
            ssl_certfile=folder / "key.pem",
            log_level="error",
            timeout_graceful_shutdown=0,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(listener,))
        self._loop = None

    def _serve(self, listener):
        async def run():
            self._loop = asyncio.get_running_loop()
            await self._server.serve([listener])

        asyncio.run(run())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self.api.store.end_watches)
        self._server.should_exit = True
        self._thread.join()

    def on_loop(self, function, *args, **kwargs):
        """Call a function of the store where it belongs."""

        async def run():
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(2)

    def _kubeconfig(self):
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": ADMIN_TOKEN}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )


@pytest.fixture
def served(tmp_path):
    with Served(tmp_path) as served:
        yield served


@pytest.fixture
def make():
    """Makers of manifests."""
    return SimpleNamespace(
        config_map=config_map,
        deployment=deployment,
        pod=pod,
        widget=widget,
        widget_crd=widget_crd,
    )
