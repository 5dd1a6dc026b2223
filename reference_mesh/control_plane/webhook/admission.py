"""
AdmissionReview, v1 and v1beta1: a request of the API server in, a verdict out.

What cannot be read is answered with 400 and not with a verdict, so that the webhook's failure
policy decides; an object that is refused is a verdict with a message for the user.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from reference_mesh.errors import InvalidInput, RefmeshError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

__all__ = ["Review", "Verdict", "application", "read"]

_LONGEST_BODY_BYTES = 8 * 1024 * 1024
"""An update carries the object twice, and the API server stores objects of at most 1.5 MiB."""

_VERSIONS = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server asks about."""

    version: str
    uid: str
    kind: str
    group: str
    namespace: str
    operation: str
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. patch: JSON patch operations. warnings: lines that kubectl shows."""

    allowed: bool = True
    message: str = ""
    patch: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = field(default=())


def application(decide: Callable[[Review], Awaitable[Verdict]]) -> Starlette:
    """
    A web application that answers reviews at `/` by this function.

    The function raises InvalidInput to refuse an object, and another RefmeshError when it cannot
    tell.
    """

    async def endpoint(request: Request) -> Response:
        try:
            review = read(await _body(request))
        except InvalidInput as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        try:
            verdict = await decide(review)
        except InvalidInput as error:
            verdict = Verdict(allowed=False, message=str(error))
        except RefmeshError as error:
            return PlainTextResponse(f"{error}\n", status_code=500)
        return JSONResponse(_answer(review, verdict))

    return Starlette(routes=[Route("/", endpoint, methods=["POST"])])


def read(body: bytes) -> Review:
    """
    The review in a request body.

    Raises:
        InvalidInput: it is not one.

    """
    try:
        document = json.loads(body)
        version = document["apiVersion"]
        request = document["request"]
        kind = request["kind"]
        review = Review(
            version=version,
            uid=request["uid"],
            kind=kind["kind"],
            group=kind.get("group", ""),
            namespace=request.get("namespace", ""),
            operation=request["operation"],
            document=request.get("object") or {},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"not an AdmissionReview: {type(error).__name__}: {error}") from error
    if version not in _VERSIONS or not isinstance(review.document, dict):
        raise InvalidInput(f"AdmissionReview {version}: expected one of {', '.join(_VERSIONS)}")
    return review


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LONGEST_BODY_BYTES:
            raise InvalidInput(f"the request is longer than {_LONGEST_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _answer(review: Review, verdict: Verdict) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": review.uid, "allowed": verdict.allowed}
    if not verdict.allowed:
        response["status"] = {"code": 400, "reason": "Invalid", "message": verdict.message}
    if verdict.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(verdict.patch).encode()).decode()
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    return {"apiVersion": review.version, "kind": "AdmissionReview", "response": response}
