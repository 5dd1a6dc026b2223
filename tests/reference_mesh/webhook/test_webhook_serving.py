from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from typing import TYPE_CHECKING

import httpx2
import pytest

from reference_mesh.control_plane.webhook import admission
from reference_mesh.control_plane.webhook.admission import Review, Verdict
from reference_mesh.control_plane.webhook.serving import serving
from reference_mesh.errors import ClusterError, InvalidInput
from reference_mesh.manifests import certificates
from reference_mesh.manifests import serving as renewals

if TYPE_CHECKING:
    from pathlib import Path

HOST = "hook.linkerd.svc"


def review(name: str = "a", version: str = "v1") -> dict[str, object]:
    return {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": "default",
            "object": {"metadata": {"name": name}},
        },
    }


async def decide(asked: Review) -> Verdict:
    name = asked.document["metadata"]["name"]
    if name == "bad":
        raise InvalidInput("annotation x: bad value")
    if name == "unknown":
        raise ClusterError("namespace default: HTTP 500")
    return Verdict(patch=({"op": "add", "path": "/x", "value": 1},), warnings=("careful",))


def put(folder: Path) -> str:
    pair = certificates.make_webhook([HOST])
    (folder / "tls.crt").write_text(pair.certificate_pem)
    (folder / "tls.key").write_text(pair.key_pem)
    return pair.certificate_pem


async def ask(
    port: int, ca: str, document: object, *, content: bytes | None = None
) -> httpx2.Response:
    context = ssl.create_default_context(cadata=ca)
    async with httpx2.AsyncClient(verify=context) as client:
        return await client.post(
            f"https://127.0.0.1:{port}/",
            json=None if content is not None else document,
            content=content,
            extensions={"sni_hostname": HOST},
        )


def run(folder: Path, document: object, content: bytes | None = None) -> httpx2.Response:
    ca = put(folder)

    async def whole() -> httpx2.Response:
        app = admission.application(decide)
        async with serving(app, host="127.0.0.1", port=0, tls_dir=folder) as port:
            return await ask(port, ca, document, content=content)

    return asyncio.run(whole())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_verdict_answers_in_the_version_that_asked(tmp_path: Path, version: str) -> None:
    answer = run(tmp_path, review(version=version)).json()
    assert answer["apiVersion"] == f"admission.k8s.io/{version}"
    response = answer["response"]
    assert (response["uid"], response["allowed"]) == ("u1", True)
    assert response["patchType"] == "JSONPatch"
    assert response["warnings"] == ["careful"]


def test_refused_object_carries_the_reason(tmp_path: Path) -> None:
    response = run(tmp_path, review("bad")).json()["response"]
    assert response["allowed"] is False
    assert response["status"]["message"] == "annotation x: bad value"


def test_doubt_is_left_to_the_failure_policy(tmp_path: Path) -> None:
    assert run(tmp_path, review("unknown")).status_code == 500


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"request": {"uid": "1"}}'])
def test_garbage_is_a_bad_request(tmp_path: Path, content: bytes) -> None:
    assert run(tmp_path, None, content).status_code == 400


def test_body_without_end_is_cut_off(tmp_path: Path) -> None:
    assert run(tmp_path, None, b"x" * (9 * 1024 * 1024)).status_code == 400


def test_replaced_certificate_serves_the_next_connection(tmp_path: Path) -> None:
    first = put(tmp_path)

    async def whole() -> None:
        app = admission.application(decide)
        async with serving(app, host="127.0.0.1", port=0, tls_dir=tmp_path) as port:
            assert (await ask(port, first, review())).status_code == 200
            second = put(tmp_path)
            assert (await ask(port, second, review())).status_code == 200
            with pytest.raises(httpx2.ConnectError):
                await ask(port, first, review())

    asyncio.run(whole())


def test_renewal_is_trusted_before_and_after(tmp_path: Path) -> None:
    old = renewals.made([HOST], now=dt.datetime.now(dt.UTC) - dt.timedelta(days=310))
    new = renewals.renewed_in_time(old, [HOST])

    def put_pair(pair: certificates.KeyPair) -> None:
        (tmp_path / "tls.crt").write_text(pair.certificate_pem)
        (tmp_path / "tls.key").write_text(pair.key_pem)

    async def whole() -> None:
        put_pair(old.pair)
        app = admission.application(decide)
        async with serving(app, host="127.0.0.1", port=0, tls_dir=tmp_path) as port:
            assert (await ask(port, new.trusted_pem, review())).status_code == 200
            put_pair(new.pair)
            assert (await ask(port, new.trusted_pem, review())).status_code == 200
            assert (await ask(port, new.pair.certificate_pem, review())).status_code == 200

    asyncio.run(whole())


def test_unusable_replacement_leaves_the_last_good_certificate(tmp_path: Path) -> None:
    good = put(tmp_path)

    async def whole() -> None:
        app = admission.application(decide)
        async with serving(app, host="127.0.0.1", port=0, tls_dir=tmp_path) as port:
            (tmp_path / "tls.crt").write_text("garbage")
            assert (await ask(port, good, review())).status_code == 200

    asyncio.run(whole())


def test_missing_certificate_is_told_at_once(tmp_path: Path) -> None:
    async def whole() -> None:
        app = admission.application(decide)
        async with serving(app, host="127.0.0.1", port=0, tls_dir=tmp_path):
            pass

    with pytest.raises(InvalidInput, match=r"tls\.crt"):
        asyncio.run(whole())
