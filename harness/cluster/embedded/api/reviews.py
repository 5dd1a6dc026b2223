"""
Questions that are answered and not stored: who is this, may it, and a token please.

RBAC is stored and not enforced, so every access review says yes and says why.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api import asks
from harness.cluster.embedded.api.answers import json_answer
from harness.cluster.embedded.api.tokens import API_AUDIENCE
from harness.cluster.embedded.status import BadRequest, Cause, Invalid, MethodNotAllowed
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.tokens import Tokens
    from harness.cluster.embedded.store import Obj

__all__ = ["Reviews"]

_EVERYTHING = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}
_SHORTEST_S = 10
"""Kubernetes wants ten minutes; checks of rotation cannot wait that long."""
_LONGEST_S = 1 << 32


class Reviews:
    """Answers with what the tokens of a cluster say."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def answer(self, ask: Ask) -> Response:
        """
        The review in the body, with its status.

        Raises:
            ApiError: it is no review of the kind that the URL names.

        """
        if ask.request.method != "POST" or ask.place.name:
            raise MethodNotAllowed
        review = await _body(ask)
        kind = ask.place.resource.kind
        if kind == "TokenReview":
            status = self._token_status(review.get("spec") or {})
        elif kind == "SelfSubjectReview":
            status = {"userInfo": ask.user.info()}
        elif kind == "SelfSubjectRulesReview":
            status = _EVERYTHING
        else:
            status = {"allowed": True, "reason": "RBAC is not enforced by this server"}
        return json_answer({**review, "status": status}, 201, warnings=ask.warnings)

    async def issue(self, ask: Ask) -> Response:
        """
        A token for the service account in the path, as its TokenRequest wants it.

        Raises:
            NotFound: no such service account or bound pod.
            Invalid: the time to live is out of bounds.

        """
        if ask.request.method != "POST":
            raise MethodNotAllowed
        request = await _body(ask, kind="TokenRequest", api_version="authentication.k8s.io/v1")
        spec = request.get("spec") or {}
        expiry_s = spec.get("expirationSeconds")
        expiry_s = 3600 if expiry_s is None else expiry_s
        if not isinstance(expiry_s, int) or not _SHORTEST_S <= expiry_s <= _LONGEST_S:
            message = f"Invalid value: {expiry_s}: {_SHORTEST_S} seconds or more, up to 2^32"
            causes = [Cause("spec.expirationSeconds", message)]
            raise Invalid(ask.place.resource, ask.place.name, causes)
        token, ends_s = self._tokens.issue(
            ask.place.namespace,
            ask.place.name,
            audiences=_audiences(spec),
            expiry_s=expiry_s,
            pod=_bound_pod(spec.get("boundObjectRef") or {}),
        )
        ends = timestamp(dt.datetime.fromtimestamp(ends_s, dt.UTC))
        metadata = {"name": ask.place.name, "namespace": ask.place.namespace}
        content = {
            **request,
            "metadata": {**metadata, "creationTimestamp": timestamp()},
            "spec": {**spec, "expirationSeconds": expiry_s},
            "status": {"token": token, "expirationTimestamp": ends},
        }
        return json_answer(content, 201, warnings=ask.warnings)

    def _token_status(self, spec: Obj) -> dict[str, Any]:
        token = spec.get("token")
        if not isinstance(token, str):
            raise BadRequest("spec.token must be a string")
        wanted = list(_audiences(spec)) or [API_AUDIENCE]
        found = self._tokens.user(token, wanted)
        if found is None:
            named = " ".join(f'"{audience}"' for audience in wanted)
            return {
                "authenticated": False,
                "user": {},
                "error": f"invalid bearer token, or not one for the target audiences [{named}]",
            }
        user, audiences = found
        return {"authenticated": True, "user": user.info(), "audiences": audiences}


async def _body(ask: Ask, kind: str = "", api_version: str = "") -> Obj:
    resource = ask.place.resource
    expected = (
        api_version or resource.api_version_of(ask.place.version),
        kind or resource.kind,
    )
    body = await asks.body_object(ask.request, stored=False)
    given = (body.setdefault("apiVersion", expected[0]), body.setdefault("kind", expected[1]))
    if given != expected or not isinstance(body.get("spec") or {}, dict):
        raise BadRequest(f"the body is {given[0]} {given[1]}, expected {expected[0]} {expected[1]}")
    return body


def _audiences(spec: Obj) -> Sequence[str]:
    audiences = spec.get("audiences") or []
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        raise BadRequest("spec.audiences must be a list of strings")
    return audiences


def _bound_pod(reference: Obj) -> str:
    if not reference:
        return ""
    if reference.get("kind") != "Pod" or not isinstance(reference.get("name"), str):
        raise BadRequest("spec.boundObjectRef: only pods can be bound to by this server")
    return str(reference["name"])
