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
    ],
)
def test_a_call_is_named_as_roles_name_it(method, address, call):
    url = httpx2.URL(f"http://api{address}")
    assert Call.of(method, url.path, dict(url.params)) == call


def test_only_denials_are_told(caplog):
    denials = Denials()
    statuses = iter([200, 403, 404])
    inner = httpx2.MockTransport(lambda _: httpx2.Response(next(statuses)))

    async def scenario():
        async with httpx2.AsyncClient(transport=denials.through(inner)) as client:
            for _ in range(3):
                await client.get("http://api/api/v1/pods")

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert 'kubernetes_calls_denied_total{verb="list",resource="pods"} 1\n' in denials.metrics()
