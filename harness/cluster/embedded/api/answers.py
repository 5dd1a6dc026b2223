"""Answers: JSON of exactly the type `application/json`, for clients compare it literally."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.cluster.embedded.status import ApiError

__all__ = ["failure", "json_answer", "success"]

_JSON = "application/json"


def json_answer(
    content: Any, code: int = 200, *, warnings: Iterable[str] = (), media_type: str = _JSON
) -> Response:
    """
    An answer with a JSON body; bytes are taken as JSON already.

    warnings: each becomes a Warning header (RFC 7234 5.5, code 299), which kubectl prints.
    """
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    response = Response(body, code, media_type=media_type)
    for warning in dict.fromkeys(warnings):
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.append("warning", f'299 - "{_latin(escaped)}"')
    return response


def failure(error: ApiError, warnings: Iterable[str] = ()) -> Response:
    """The Status of a refusal, under its code."""
    response = json_answer(error.status(), error.code, warnings=warnings)
    if error.code == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def success(details: dict[str, Any]) -> dict[str, Any]:
    """The Status of something that is done and leaves no object behind."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _latin(text: str) -> str:
    return text.encode("latin-1", "backslashreplace").decode("latin-1")
