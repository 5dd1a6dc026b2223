"""Webhooks that run as pods: asked over TLS, through their service, by the API server."""

from __future__ import annotations

import base64
import json

import pytest
import trustme
from lightkube.resources.admissionregistration_v1 import MutatingWebhookConfiguration

from harness.waiting import until

pytestmark = pytest.mark.cluster

IMAGE = "meshmark.dev/contract:1"

HOOK = """
import base64, http.server, json, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["request"]
        answer = {"uid": asked["uid"], "allowed": True}
        labels = asked["object"]["metadata"].get("labels", {})
        if labels.get("wanted") == "no":
            answer |= {"allowed": False, "status": {"message": "not wanted here", "code": 403}}
        else:
            told = f'{asked["operation"]} {asked["namespace"]} {asked["userInfo"]["username"]}'
            data = json.dumps({"told": told})
            patch = [{"op": "add", "path": "/data", "value": json.loads(data)}]
            answer |= {
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
                "warnings": ["it was changed"],
            }
        body = json.dumps({**review, "request": None, "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/certificate/tls.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def hook(bench):
    """A webhook for config maps of this namespace; returns the bench."""
    authority = trustme.CA()
    certificate = authority.issue_cert(f"hook.{bench.namespace}.svc")
    pem = certificate.private_key_and_cert_chain_pem.bytes().decode()
    bench.apply(f"""
apiVersion: v1
kind: Secret
metadata: {{name: certificate}}
stringData:
  tls.pem: {json.dumps(pem)}
---
apiVersion: v1
kind: Service
metadata: {{name: hook}}
spec:
  selector: {{app: hook}}
  ports: [{{port: 443, targetPort: 8443}}]
""")
    bench.pod(
        "hook",
        "",
        volumes=[{"name": "certificate", "secret": {"secretName": "certificate"}}],
        container={
            "command": ["python3", "-c", HOOK],
            "args": [],
            "readinessProbe": {"httpGet": {"port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1},
            "volumeMounts": [{"name": "certificate", "mountPath": "/certificate"}],
        },
    )
    bench.ready("hook")
    name = f"hook-{bench.namespace}"
    client = {
        "service": {"name": "hook", "namespace": bench.namespace, "path": "/ask"},
        "caBundle": base64.b64encode(authority.cert_pem.bytes()).decode(),
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "hook.meshmark.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 5,
                "clientConfig": client,
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": bench.namespace}
                },
                "objectSelector": {"matchExpressions": [{"key": "wanted", "operator": "Exists"}]},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["configmaps"],
                        "operations": ["CREATE"],
                    }
                ],
            }
        ],
    }
    bench.client.create(MutatingWebhookConfiguration.from_dict(configuration))
    yield bench
    bench.client.delete(MutatingWebhookConfiguration, name)


def config(name: str, **labels: str) -> dict[str, object]:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_a_webhook_changes_denies_and_is_missed(hook) -> None:
    place = f"/api/v1/namespaces/{hook.namespace}"
    with hook.cluster.api_http(place) as api:

        def asked():
            api.delete("/configmaps/changed")
            return api.post("/configmaps", json=config("changed", wanted="yes"))

        # An API server hears of a new configuration, and of the service behind it, a moment later.
        changed = until(
            asked,
            what="the webhook asked",
            timeout_s=20,
            holds=lambda answer: "told" in answer.json().get("data", {}),
        )
        assert changed.json()["data"]["told"].startswith(f"CREATE {hook.namespace} ")
        assert "it was changed" in changed.headers["Warning"]

        denied = api.post("/configmaps", json=config("denied", wanted="no"))
        assert denied.status_code == 403
        assert denied.json()["message"] == (
            'admission webhook "hook.meshmark.dev" denied the request: not wanted here'
        )
        assert "data" not in api.post("/configmaps", json=config("unasked")).json()

        api.delete("/pods/hook", params={"gracePeriodSeconds": "0"})
        until(lambda: hook.show("hook") is None, what="the webhook gone", timeout_s=20)
        missed = until(
            lambda: api.post("/configmaps", json=config("missed", wanted="yes")),
            what="a refusal",
            timeout_s=20,
            holds=lambda answer: answer.status_code == 500,
        )
        assert 'failed calling webhook "hook.meshmark.dev"' in missed.json()["message"]
