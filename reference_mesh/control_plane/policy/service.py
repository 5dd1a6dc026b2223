"""The gRPC services `inbound.InboundServerPolicies` and `outbound.OutboundPolicies`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from reference_mesh.control_plane import streams, targets, wire
from reference_mesh.control_plane.policy import inbound, outbound
from reference_mesh.control_plane.wire import Refusal
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import inbound_pb2, outbound_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

    from reference_mesh.control_plane.fanout import Views
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader

__all__ = ["Policy", "Question", "inbound_question", "outbound_question"]

_NEW_POD_S = 1.0
"""How long a pod's own proxy is kept waiting that asks before its pod is known here."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a call asks: the key of a view, and how the view is compiled."""

    key: Hashable
    compile_view: Callable[[Reader], bytes | Refusal]


def inbound_question(request: inbound_pb2.PortSpec, settings: Settings) -> Question:
    """
    Read a request for a port of a pod.

    Raises:
        InvalidInput: no workload, or a port that is none.

    """
    caller = targets.caller_of(request.workload)
    if not caller.namespace or not caller.pod:
        raise InvalidInput('the workload names no pod; it must be {"ns":…,"pod":…} or ns:pod')
    port = _port(request.port)
    return Question(
        ("inbound", caller.namespace, caller.pod, port),
        lambda reader: inbound.compile_port(reader, caller.namespace, caller.pod, port, settings),
    )


def outbound_question(request: outbound_pb2.TrafficSpec, settings: Settings) -> Question:
    """
    Read a request for a target.

    Raises:
        InvalidInput: no target, or one that is neither an address nor an authority.

    """
    targets.caller_of(request.source_workload)
    kind = request.WhichOneof("target")
    if kind == "authority":
        target = targets.service_target(request.authority, domain=settings.cluster_domain)
        return Question(
            ("outbound", target), lambda reader: outbound.policy_of(reader, target, settings)
        )
    if kind is None:
        raise InvalidInput("the request has no target")
    try:
        where = (wire.ip_text(request.addr.ip), _port(request.addr.port))
    except ValueError as error:
        raise InvalidInput("the target has no address") from error
    return Question(("outbound", where), lambda reader: outbound.policy_at(reader, where, settings))


class Policy:
    """Answers `Get`, `Watch`, `GetPort` and `WatchPort`."""

    def __init__(
        self, settings: Settings, views: Views, synced: Callable[[], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._views = views
        self._synced = synced

    def handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """Both services, for a gRPC server. All methods answer with encoded messages."""
        ports, traffic = inbound_pb2.PortSpec.FromString, outbound_pb2.TrafficSpec.FromString
        return [
            grpc.method_handlers_generic_handler(
                "io.linkerd.proxy.inbound.InboundServerPolicies",
                {
                    "GetPort": grpc.unary_unary_rpc_method_handler(self._get_port, ports, None),
                    "WatchPort": grpc.unary_stream_rpc_method_handler(
                        self._watch_port, ports, None
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                "io.linkerd.proxy.outbound.OutboundPolicies",
                {
                    "Get": grpc.unary_unary_rpc_method_handler(self._get, traffic, None),
                    "Watch": grpc.unary_stream_rpc_method_handler(self._watch, traffic, None),
                },
            ),
        ]

    async def _get_port(self, request: inbound_pb2.PortSpec, context: streams.Context) -> bytes:
        question = await self._asked(inbound_question, request, context)
        return await streams.once(self._views, question.key, question.compile_view, context)

    async def _watch_port(
        self, request: inbound_pb2.PortSpec, context: streams.Context
    ) -> AsyncIterator[bytes]:
        question = await self._asked(inbound_question, request, context)
        async for message in streams.encoded(
            self._views, question.key, question.compile_view, context, patience_s=_NEW_POD_S
        ):
            yield message

    async def _get(self, request: outbound_pb2.TrafficSpec, context: streams.Context) -> bytes:
        question = await self._asked(outbound_question, request, context)
        return await streams.once(self._views, question.key, question.compile_view, context)

    async def _watch(
        self, request: outbound_pb2.TrafficSpec, context: streams.Context
    ) -> AsyncIterator[bytes]:
        question = await self._asked(outbound_question, request, context)
        async for message in streams.encoded(
            self._views, question.key, question.compile_view, context
        ):
            yield message

    async def _asked(
        self, read: Callable[[Any, Settings], Question], request: Any, context: streams.Context
    ) -> Question:
        try:
            question = read(request, self._settings)
        except InvalidInput as error:
            await streams.refuse(context, Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        await streams.until_synced(self._synced, context)
        return question


def _port(port: int) -> int:
    if not 0 < port <= 65535:
        raise InvalidInput(f"{port} is not a port")
    return port
