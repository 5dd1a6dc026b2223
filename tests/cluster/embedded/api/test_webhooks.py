"""Admission webhooks are asked over TLS, and their answers decide."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl

import pytest
import trustme

PODS = "/api/v1/namespaces/default/pods"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
MERGE = "application/merge-patch+json"

CA = trustme.CA()
HOST = "injector.mesh.svc"


class Webhook:
    """A webhook that answers as `answer` says and keeps what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []

    @contextlib.asynccontextmanager
    async def listening(self, node):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        CA.issue_cert(HOST).configure_cert(context)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        node.ports[HOST, 443] = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            review = json.loads(await reader.readexactly(length))
            self.requests.append(review["request"])
            answer = self.answer(review["request"])
            if not isinstance(answer, bytes):
                response = {"uid": review["request"]["uid"], "allowed": True, **answer}
                answer = json.dumps({"response": response}).encode()
            start = f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n".encode()
            writer.write(start + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def hook(**more):
    bundle = base64.b64encode(CA.cert_pem.bytes()).decode()
    return {
        "name": "hook.example.com",
        "clientConfig": {
            "service": {"name": "injector", "namespace": "mesh", "path": "/"},
            "caBundle": bundle,
        },
        "rules": [
            {
                "operations": ["CREATE"],
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
            }
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }


def configure(api, kind="mutating", **more):
    body = {"metadata": {"name": "m"}, "webhooks": [hook(**more)]}
    return api.post(f"{CONFIGURATIONS}/{kind}webhookconfigurations", body)


def ask(api, webhook, body, path=PODS, method="POST"):
    async def run():
        async with webhook.listening(api.node):
            return await api.asked(method, path, json=body)

    return api.run(run())


def patch(*operations):
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"patchType": "JSONPatch", "patch": encoded}


def sidecar(_):
    container = {"name": "linkerd-proxy", "image": "example/proxy:1"}
    return patch({"op": "add", "path": "/spec/containers/-", "value": container})


def test_a_mutating_webhook_changes_the_pod_and_defaults_are_filled_in_again(api, make):
    configure(api)
    pod = ask(api, Webhook(sidecar), make.pod()).json()
    names = [one["name"] for one in pod["spec"]["containers"]]
    assert names == ["app", "linkerd-proxy"]
    assert pod["spec"]["containers"][1]["imagePullPolicy"] == "IfNotPresent"


def test_a_controller_that_creates_in_process_passes_the_webhooks_too(api, make):
    configure(api)
    webhook = Webhook(sidecar)

    async def run():
        async with webhook.listening(api.node):
            body = make.pod()
            body["metadata"]["namespace"] = "default"
            return await api.operations.create(("", "pods"), body)

    assert len(api.run(run())["spec"]["containers"]) == 2


def test_a_webhook_is_told_what_is_done_by_whom(api, make):
    configure(api)
    webhook = Webhook(lambda _: {})
    ask(api, webhook, make.pod())
    (request,) = webhook.requests
    assert request["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (request["operation"], request["namespace"], request["name"]) == (
        "CREATE",
        "default",
        "p",
    )
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert request["object"]["spec"]["serviceAccountName"] == "default"
    assert request["oldObject"] is None
    assert request["dryRun"] is False


def test_a_denial_comes_with_its_message_and_nothing_is_stored(api, make):
    configure(api, "validating")
    status = {"message": "no such luck", "code": 418, "reason": "Teapot"}
    response = ask(api, Webhook(lambda _: {"allowed": False, "status": status}), make.pod())
    assert (response.status_code, response.json()["reason"]) == (418, "Teapot")
    message = 'admission webhook "hook.example.com" denied the request: no such luck'
    assert response.json()["message"] == message
    assert api.get(PODS)["items"] == []


def test_warnings_of_a_webhook_reach_the_client(api, make):
    configure(api, "validating")
    response = ask(api, Webhook(lambda _: {"warnings": ["mind the gap"]}), make.pod())
    assert response.headers["warning"] == '299 - "mind the gap"'


def test_a_webhook_that_cannot_be_asked_refuses_or_is_passed_over(api, make, caplog):
    configure(api)
    response = api.ask("POST", PODS, make.pod())
    assert response.status_code == 500
    assert 'failed calling webhook "hook.example.com"' in response.json()["message"]
    assert "https://injector.mesh.svc:443/" in response.json()["message"]
    path = f"{CONFIGURATIONS}/mutatingwebhookconfigurations/m"
    ignoring = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]
    api.ask("PATCH", path, ignoring, type_="application/json-patch+json")
    assert api.ask("POST", PODS, make.pod()).status_code == 201
    assert "Failed calling webhook, failing open hook.example.com: https://inj" in caplog.text


def test_a_certificate_of_another_authority_is_not_trusted(api, make):
    other = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    service = {"name": "injector", "namespace": "mesh"}
    configure(api, clientConfig={"service": service, "caBundle": other})
    webhook = Webhook(sidecar)
    response = ask(api, webhook, make.pod())
    assert "certificate verify failed" in response.json()["message"]
    assert webhook.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        b"what?",
        b"{}",
        b'{"response": {"uid": "other", "allowed": true}}',
        {"patchType": "JSONPatch", "patch": "!"},
        {"patchType": "Other", "patch": "W10="},
        patch({"op": "remove", "path": "/spec/nothing"}),
        patch({"op": "replace", "path": "", "value": 7}),
    ],
)
def test_an_answer_that_is_none_fails_the_write(api, make, answer):
    configure(api)
    response = ask(api, Webhook(lambda _: answer), make.pod())
    assert response.status_code == 500, response.text
    assert "hook.example.com" in response.json()["message"]


@pytest.mark.parametrize(
    ("selectors", "asked"),
    [
        ({"namespaceSelector": {"matchLabels": {"mesh": "on"}}}, 0),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, 1),
        ({"namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}, 0),
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, 1),
        ({"objectSelector": {"matchLabels": {"a": "c"}}}, 0),
    ],
)
def test_selectors_choose_what_is_asked_about(api, make, selectors, asked):
    configure(api, **selectors)
    body = make.pod()
    body["metadata"]["labels"] = {"a": "b"}
    webhook = Webhook(lambda _: {})
    assert ask(api, webhook, body).status_code == 201
    assert len(webhook.requests) == asked


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ({"operations": ["*"], "resources": ["*"], "apiGroups": ["*"], "apiVersions": ["*"]}, 1),
        ({"operations": ["UPDATE"]}, 0),
        ({"resources": ["services"]}, 0),
        ({"resources": ["pods/status"]}, 0),
        ({"scope": "Cluster"}, 0),
        ({"scope": "Namespaced"}, 1),
        ({"apiVersions": ["v2"]}, 0),
    ],
)
def test_rules_choose_what_is_asked_about(api, make, rule, asked):
    configure(api, rules=[{**hook()["rules"][0], **rule}])
    webhook = Webhook(lambda _: {})
    ask(api, webhook, make.pod())
    assert len(webhook.requests) == asked


def test_a_deletion_is_asked_about_with_the_old_object(api, make):
    api.post(PODS, make.pod())
    configure(api, "validating", rules=[{**hook()["rules"][0], "operations": ["DELETE"]}])
    webhook = Webhook(lambda _: {"allowed": False})
    assert ask(api, webhook, None, f"{PODS}/p", "DELETE").status_code == 403
    (request,) = webhook.requests
    assert (request["object"], request["oldObject"]["metadata"]["name"]) == (None, "p")


def test_a_dry_run_asks_only_webhooks_without_side_effects(api, make):
    configure(api)
    webhook = Webhook(lambda _: {})
    assert ask(api, webhook, make.pod(), f"{PODS}?dryRun=All").status_code == 201
    assert webhook.requests[0]["dryRun"] is True


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"sideEffects": None}, 422, "webhooks[0].sideEffects: Required value"),
        ({"sideEffects": "Some"}, 422, "Unsupported value"),
        ({"admissionReviewVersions": ["v9"]}, 422, "must include at least one of v1"),
        ({"clientConfig": {"caBundle": ""}}, 422, "exactly one of url or service"),
        ({"matchConditions": [{"name": "a", "expression": "true"}]}, 501, "CEL"),
        ({"reinvocationPolicy": "IfNeeded"}, 501, "calls each webhook once"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(api, change, code, message):
    body = {"metadata": {"name": "m"}, "webhooks": [hook(**change)]}
    response = api.ask("POST", f"{CONFIGURATIONS}/mutatingwebhookconfigurations", body)
    assert response.status_code == code
    assert message in response.json()["message"]
