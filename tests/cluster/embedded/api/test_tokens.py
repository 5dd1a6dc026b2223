"""Tokens say who speaks, to whom, and for how long."""

from __future__ import annotations

import base64
import json

import pytest

from harness.cluster.embedded.api import tokens as tokens_module

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


def request(**spec):
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def token(api, **spec):
    return api.post(f"{ACCOUNTS}/default/token", request(**spec))["status"]["token"]


def review(api, token, *audiences):
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": list(audiences)},
    }
    return api.post(REVIEWS, body)["status"]


def test_a_token_is_recognised_by_the_audience_that_it_is_for(api):
    issued = token(api, audiences=["identity.l5d.io"], expirationSeconds=600)
    status = review(api, issued, "identity.l5d.io", "other")
    assert status["authenticated"]
    assert status["audiences"] == ["identity.l5d.io"]
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in status["user"]["groups"]


def test_a_token_for_another_audience_is_refused(api):
    issued = token(api, audiences=["identity.l5d.io"])
    assert not review(api, issued)["authenticated"]
    refused = review(api, issued, "other", "another")
    assert not refused["authenticated"]
    assert 'the target audiences ["other" "another"]' in refused["error"]
    answer = api.ask("GET", ACCOUNTS, headers={"authorization": f"Bearer {issued}"})
    assert answer.status_code == 401


def test_a_token_without_audience_opens_the_api(api):
    headers = {"authorization": f"Bearer {token(api)}"}
    assert api.ask("GET", ACCOUNTS, headers=headers).status_code == 200
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    me = api.ask("POST", path, body, headers=headers).json()["status"]["userInfo"]
    assert me["username"] == "system:serviceaccount:default:default"


def test_the_claims_are_those_of_bound_tokens(api, make):
    pod = api.post("/api/v1/namespaces/default/pods", make.pod())
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    issued = token(api, boundObjectRef=reference, expirationSeconds=700)
    payload = issued.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["exp"] - claims["iat"] == 700
    assert claims["sub"] == "system:serviceaccount:default:default"
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": pod["metadata"]["uid"]}
    extra = review(api, issued)["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]


def test_a_token_ends_with_its_time(api, monkeypatch):
    now_s = int(tokens_module._CLOCK())  # claims are whole seconds
    monkeypatch.setattr(tokens_module, "_CLOCK", lambda: now_s)
    issued = token(api, expirationSeconds=60)
    monkeypatch.setattr(tokens_module, "_CLOCK", lambda: now_s + 59)
    assert review(api, issued)["authenticated"]
    monkeypatch.setattr(tokens_module, "_CLOCK", lambda: now_s + 61)
    assert not review(api, issued)["authenticated"]


def test_a_token_ends_with_its_account_and_with_its_pod(api, make):
    api.post("/api/v1/namespaces/default/pods", make.pod())
    free, bound = token(api), token(api, boundObjectRef={"kind": "Pod", "name": "p"})
    api.ask("DELETE", "/api/v1/namespaces/default/pods/p")
    assert review(api, free)["authenticated"]
    assert not review(api, bound)["authenticated"]
    api.ask("DELETE", f"{ACCOUNTS}/default")
    api.post(ACCOUNTS, {"metadata": {"name": "default"}})
    assert not review(api, free)["authenticated"]


def tampered(issued):
    head, payload, signature = issued.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return [f"{head}.{forged}.{signature}", f"{none}.{payload}.", f"{none}.{payload}", "a.b.c", "."]


def test_what_was_not_signed_here_is_refused(api):
    for forged in [*tampered(token(api)), "", "é", "x" * 10_000]:
        assert not review(api, forged)["authenticated"], forged


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"expirationSeconds": 1}, 422),
        ({"expirationSeconds": "600"}, 422),
        ({"audiences": "x"}, 400),
        ({"boundObjectRef": {"kind": "Secret", "name": "s"}}, 400),
        ({"boundObjectRef": {"kind": "Pod", "name": "absent"}}, 404),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(api, spec, code):
    assert api.ask("POST", f"{ACCOUNTS}/default/token", request(**spec)).status_code == code


def test_protobuf_is_refused_with_the_way_that_works(api):
    path = f"{ACCOUNTS}/default/token"
    response = api.ask("POST", path, type_="application/vnd.kubernetes.protobuf", content=b"k8s")
    assert response.status_code == 501
    assert f"kubectl create --raw {path} -f FILE" in response.json()["message"]


def test_access_reviews_say_that_nothing_is_enforced(api):
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}}
    status = api.post(path, body)["status"]
    assert status == {"allowed": True, "reason": "RBAC is not enforced by this server"}
