"""
The HTTP side: who asks, for what, and which part of the server answers.

`build_app` gives an ASGI application. Whatever goes wrong leaves as a Status object.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.websockets import WebSocket

from harness.cluster.embedded.api import asks, openapi
from harness.cluster.embedded.api.answers import failure, json_answer
from harness.cluster.embedded.api.asks import Ask
from harness.cluster.embedded.api.discovery import Discovery
from harness.cluster.embedded.api.objects import Objects
from harness.cluster.embedded.api.pods import Pods
from harness.cluster.embedded.api.proxying import Proxying
from harness.cluster.embedded.api.reviews import Reviews
from harness.cluster.embedded.api.scaling import Scaling
from harness.cluster.embedded.api.steering import Steering
from harness.cluster.embedded.status import (
    ApiError,
    BadRequest,
    InternalError,
    NotImplementedHere,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from harness.cluster.embedded.api.node import NodeApi
    from harness.cluster.embedded.api.operations import Operations
    from harness.cluster.embedded.api.tokens import Tokens, User

__all__ = ["build_app"]

_LOG = logging.getLogger(__name__)

_VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0+meshmark",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_HEALTH = {"healthz", "livez", "readyz"}
_UPGRADES = {"exec", "attach", "portforward"}


def build_app(operations: Operations, node: NodeApi, tokens: Tokens) -> Starlette:
    """
    The API server over the store of `operations`.

    It has no background work of its own. For HTTP servers: no access log, header limits as they
    come, no time limit on responses, since watches and followed logs last.
    """
    return Starlette(routes=[Mount("/", app=_Server(operations, node, tokens))])


class _Server:
    """The ASGI application: one request at a time, each authenticated first."""

    def __init__(self, operations: Operations, node: NodeApi, tokens: Tokens) -> None:
        store = operations.store
        self._registry = store.registry
        self._tokens = tokens
        self._discovery = Discovery(store.registry)
        self._objects = Objects(store, operations)
        self._proxying = Proxying(store, node)
        self._steering = Steering(node)
        pods = Pods(store, operations, node)
        reviews = Reviews(tokens)
        self._subresources: dict[str, Callable[[Ask], Awaitable[Response]]] = {
            "log": pods.log,
            "eviction": pods.evict,
            "proxy": self._proxying.answer,
            "scale": Scaling(operations).answer,
            "token": reviews.issue,
        }
        self._reviews = reviews

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
            return
        request = Request(scope, receive)
        warnings: list[str] = []
        try:
            response = await self._answer(request, warnings)
        except ApiError as error:
            response = failure(error, warnings)
        except RecursionError:
            response = failure(BadRequest("the body is nested too deeply"), warnings)
        except Exception:
            _LOG.exception("request failed: %s %s", request.method, scope["path"])
            response = failure(
                InternalError("the API server has a defect, its log has the details"), warnings
            )
        await response(scope, receive, send)

    async def _answer(self, request: Request, warnings: list[str]) -> Response:
        segments = request.scope["path"].strip("/").split("/")
        if segments[0] in _HEALTH:
            return PlainTextResponse("ok")
        if segments == ["version"]:
            return json_answer(_VERSION)
        user = self._user(request)
        match segments:
            case ["openapi", *rest]:
                response = openapi.answer(self._registry, rest)
            case ["meshmark", "v1", *rest]:
                response = await self._steering.answer(request, user, rest)
            case ["api", version, first, *rest]:
                place = asks.place(self._registry, "", version, [first, *rest])
                response = await self._at(Ask(place, request, user, warnings))
            case ["apis", group, version, first, *rest]:
                place = asks.place(self._registry, group, version, [first, *rest])
                response = await self._at(Ask(place, request, user, warnings))
            case _:
                response = self._discovery.answer(request, segments)
        return response

    async def _at(self, ask: Ask) -> Response:
        place = ask.place
        if place.subresource in _UPGRADES:
            raise _no_upgrade(place.subresource)
        handler = self._subresources.get(place.subresource)
        if handler is not None:
            return await handler(ask)
        if place.resource.verbs == ("create",):
            return await self._reviews.answer(ask)
        return await self._objects.answer(ask)

    def _user(self, request: Request) -> User:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = self._tokens.user(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthorized
        return found[0]


def _no_upgrade(what: str) -> NotImplementedHere:
    instead = {
        "exec": "look at the pod from outside (kubectl logs, the pod proxy), or run another pod",
        "attach": "use kubectl logs -f",
        "portforward": (
            "use the proxy of the API: kubectl get --raw "
            "/api/v1/namespaces/NAMESPACE/pods/POD:PORT/proxy/PATH"
        ),
    }
    return NotImplementedHere(f"{what} is not supported by this server: {instead[what]}")


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an upgrade with the Status that says why there is none."""
    socket = WebSocket(scope, receive, send)
    await socket.receive()
    segments = scope["path"].strip("/").split("/")
    what = next((one for one in segments[-1:] if one in _UPGRADES), "")
    error = (
        _no_upgrade(what)
        if what
        else NotImplementedHere("WebSocket upgrades are not supported by this server")
    )
    await socket.send_denial_response(failure(error))
