from __future__ import annotations

import asyncio

import httpx2
import pytest

from reference_mesh.control_plane.kube.denied import Call, Denials


@pytest.mark.parametrize(
    ("method", "address", "call"),
    [
        ("GET", "/api/v1/pods", ("list", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/shop", ("get", "", "namespaces", "", "shop")),
        ("GET", "/api/v1/namespaces/a/pods?watch=true", ("watch", "", "pods", "a", "")),
        (
            "GET",
            "/api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Dx",
            ("list", "", "secrets", "a", "x"),
        ),
        (
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            ("create", "authentication.k8s.io", "tokenreviews", "", ""),
        ),
        ("GET", "/version", ("get", "", "/version", "", "")),
        ("GET", "/api", ("get", "", "/api", "", "")),
        ("GET", "/apis/apps/v1", ("get", "", "/apis/apps/v1", "", "")),
    ],
)
def test_a_call_is_named_as_roles_name_it(method, address, call):
    url = httpx2.URL(f"http://api{address}")
    assert Call.of(method, url.path, dict(url.params)) == call


def test_only_denials_are_told(caplog):
    denials = Denials()
    messages = {
        200: "",
        403: 'pods is forbidden: User "it" cannot list resource "pods" in API group ""',
        404: "",
    }
    answers = iter(httpx2.Response(code, json={"message": m}) for code, m in messages.items())
    inner = httpx2.MockTransport(lambda _: next(answers))

    async def scenario():
        async with httpx2.AsyncClient(transport=denials.through(inner)) as client:
            for _ in range(3):
                await client.get("http://api/api/v1/pods")

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert 'kubernetes_calls_denied_total{verb="list",resource="pods"} 1\n' in denials.metrics()


@pytest.mark.parametrize(
    "message",
    [
        'pods "a" is forbidden: unable to create new content in namespace x',
        'pods "a" is forbidden: exceeded quota: few, requested: pods=1',
        'admission webhook "policy.example" denied the request: no',
    ],
)
def test_what_roles_have_no_part_in_is_no_denial(message):
    """And whoever called can still read it."""
    denials = Denials()
    inner = httpx2.MockTransport(lambda _: httpx2.Response(403, json={"message": message}))

    async def scenario():
        async with httpx2.AsyncClient(transport=denials.through(inner)) as client:
            return await client.post("http://api/api/v1/namespaces/x/pods")

    assert asyncio.run(scenario()).json()["message"] == message
    assert not denials.counts
