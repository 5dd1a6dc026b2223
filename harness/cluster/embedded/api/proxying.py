"""
Proxies to pods and services: any method, bodies streamed both ways, nothing kept.

`.../pods/[http:]NAME[:PORT]/proxy/PATH` and the same for services; PORT is a number or a name. A
request leaves as it came, except for its own hop's headers and the client's credentials.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from harness.cluster.embedded.api.answers import failure
from harness.cluster.embedded.api.wire import Exchange, WireError
from harness.cluster.embedded.status import (
    BadGateway,
    BadRequest,
    NotFound,
    NotImplementedHere,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.node import NodeApi
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["Proxying"]

_HOP = {
    b"authorization",
    b"connection",
    b"expect",
    b"host",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"upgrade",
}
"""Of this hop, or meant for this server only."""

_HOP_BACK = {b"connection", b"date", b"keep-alive", b"transfer-encoding", b"upgrade"}
"""Of that hop; a date is given by this server."""

_CONNECT_TIMEOUT_S = 10.0


class Proxying:
    """Finds the address behind a name and passes requests on to it."""

    def __init__(self, store: Store, node: NodeApi) -> None:
        self._store = store
        self._node = node

    async def answer(self, ask: Ask) -> Response:
        """
        Pass the request on.

        Raises:
            NotFound: no such pod, service or port.
            Unavailable: it has no address yet.

        """
        if ask.request.headers.get("upgrade"):
            raise NotImplementedHere("upgrades are not supported by this server's proxy")
        scheme, name, port = _named(ask.place.name)
        if scheme == "https":
            raise NotImplementedHere(
                "the proxy of this server speaks plain HTTP to pods: leave out https:"
            )
        finds = self._pod if ask.place.resource.plural == "pods" else self._service
        host, number = finds(ask.place.namespace, name, port)
        return _Passed(self._node, host, number, _target(ask))

    def _pod(self, namespace: str, name: str, port: str) -> tuple[str, int]:
        pod = self._store.peek(("", "pods"), namespace, name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise Unavailable(f'pod "{name}" has no address yet')
        ports = [
            declared
            for container in pod["spec"].get("containers") or ()
            for declared in container.get("ports") or ()
        ]
        if not port:
            return address, ports[0]["containerPort"] if ports else 80
        return address, _number(port, ports, "containerPort", f'pod "{name}"')

    def _service(self, namespace: str, name: str, port: str) -> tuple[str, int]:
        service = self._store.peek(("", "services"), namespace, name)
        spec = service["spec"]
        ports = spec.get("ports") or []
        if not port and len(ports) != 1:
            raise BadRequest(f'service "{name}" has {len(ports)} ports: name one, as {name}:PORT')
        number = _number(port or str(ports[0]["port"]), ports, "port", f'service "{name}"')
        if spec.get("clusterIP") not in {None, "", "None"}:
            return spec["clusterIP"], number
        return self._endpoint(namespace, name, ports, number)

    def _endpoint(
        self, namespace: str, name: str, ports: list[Obj], number: int
    ) -> tuple[str, int]:
        """A ready address of a headless service, with the port behind that number."""
        wanted = next((port.get("name", "") for port in ports if port["port"] == number), "")
        for one in self._store.scan(("discovery.k8s.io", "endpointslices")):
            labels = one["metadata"].get("labels") or {}
            mine = labels.get("kubernetes.io/service-name") == name
            if not mine or one["metadata"]["namespace"] != namespace:
                continue
            behind = [
                port["port"]
                for port in one.get("ports") or ()
                if (port.get("name") or "") == wanted
            ]
            for endpoint in one.get("endpoints") or ():
                if behind and (endpoint.get("conditions") or {}).get("ready") is not False:
                    return endpoint["addresses"][0], behind[0]
        raise Unavailable(f'no endpoints available for service "{name}"')


class _Passed(Response):
    """A response that is fetched while it is sent."""

    def __init__(self, node: NodeApi, host: str, port: int, target: bytes) -> None:
        super().__init__()
        self._node = node
        self._host = host
        self._port = port
        self._target = target
        self._started = False
        self._failed: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                reader, writer = await self._node.connect(self._host, self._port)
            async with Exchange(reader, writer) as exchange:
                await exchange.start(scope["method"], self._target, self._outgoing(scope))
                await self._pass_on(exchange, receive, send)
        except (OSError, WireError) as error:
            self._failed = error
        # What breaks later cannot be told any more: returning early cuts the connection.
        if self._failed is not None and not self._started:
            why = str(self._failed) or type(self._failed).__name__
            told = f"error trying to reach {self._host}:{self._port}: {why}"
            await failure(BadGateway(told))(scope, receive, send)

    async def _pass_on(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._answer(exchange, send))
            feeding = tasks.create_task(_feed(exchange, receive, answering))
            answering.add_done_callback(lambda _: feeding.cancel())

    async def _answer(self, exchange: Exchange, send: Send) -> None:
        try:
            code, headers = await exchange.response()
            kept = [(key, value) for key, value in headers if key.lower() not in _HOP_BACK]
            self._started = True
            await send({"type": "http.response.start", "status": code, "headers": kept})
            async for chunk in exchange.body():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except WireError as error:
            self._failed = error

    def _outgoing(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        kept = [(key, value) for key, value in scope["headers"] if key not in _HOP]
        host = (b"host", f"{self._host}:{self._port}".encode())
        return [host, *kept, (b"connection", b"close")]


async def _feed(exchange: Exchange, receive: Receive, answering: asyncio.Task[None]) -> None:
    """Send the client's body, then wait for the client to go: then nobody wants the answer."""

    async def chunks() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                answering.cancel()
                return
            yield message.get("body", b"")
            more = message.get("more_body", False)

    await exchange.send(chunks())
    while (await receive())["type"] != "http.disconnect":
        continue
    answering.cancel()


def _named(text: str) -> tuple[str, str, str]:
    """Scheme, name and port of `[scheme:]name[:port]`. Raises BadRequest."""
    parts = text.split(":")
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    if len(parts) > 3:
        raise BadRequest(f'"{text}" is not of the form [scheme:]name[:port]')
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _number(port: str, declared: list[Obj], field: str, what: str) -> int:
    if port.isdigit():
        return int(port)
    for one in declared:
        if one.get("name") == port:
            return int(one[field])
    raise NotFound(message=f'{what} has no port "{port}"')


def _target(ask: Ask) -> bytes:
    """Path and query for the pod, as the client encoded them."""
    scope: Any = ask.request.scope
    parts = scope["raw_path"].partition(b"?")[0].split(b"/", 8)
    path = b"/" + (parts[8] if len(parts) > 8 else b"")
    query = scope["query_string"]
    return bytes(path + b"?" + query if query else path)
