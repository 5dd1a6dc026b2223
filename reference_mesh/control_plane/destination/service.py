"""The gRPC service `io.linkerd.proxy.destination.Destination`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import grpc

from reference_mesh.control_plane import streams, targets
from reference_mesh.control_plane.destination import endpoints, profiles, updates
from reference_mesh.control_plane.fanout import Closed
from reference_mesh.control_plane.wire import Refusal
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import destination_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from reference_mesh.control_plane.destination.endpoints import EndpointSet
    from reference_mesh.control_plane.fanout import View, Views
    from reference_mesh.control_plane.settings import Settings

__all__ = ["Destination", "asked_service"]

_NOBODY = endpoints.EndpointSet()


def asked_service(path: str, settings: Settings) -> targets.ServiceTarget:
    """
    The service that a `Get` asks for.

    Raises:
        InvalidInput: an address, or not a service's name; the proxy then goes where it was going.

    """
    host, _ = targets.split_port(path)
    if targets.is_address(host):
        raise InvalidInput(f"{path!r} is an address, not the name of a service")
    return targets.service_target(path, domain=settings.cluster_domain)


class Destination:
    """Answers `Get` and `GetProfile`."""

    def __init__(
        self, settings: Settings, views: Views, synced: Callable[[], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._views = views
        self._synced = synced

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The service, for a gRPC server. Both methods answer with encoded messages."""
        request = destination_pb2.GetDestination.FromString
        methods = {
            "Get": grpc.unary_stream_rpc_method_handler(self._get, request, None),
            "GetProfile": grpc.unary_stream_rpc_method_handler(self._profile, request, None),
        }
        return grpc.method_handlers_generic_handler(
            "io.linkerd.proxy.destination.Destination", methods
        )

    async def _get(
        self, request: destination_pb2.GetDestination, context: streams.Context
    ) -> AsyncIterator[bytes]:
        try:
            target = asked_service(request.path, self._settings)
            caller = targets.caller_of(request.context_token)
        except InvalidInput as error:
            await streams.refuse(context, Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        await streams.until_synced(self._synced, context)
        # Only the node of a caller matters here: all callers of a node share one view.
        key = ("endpoints", target, caller.node)
        try:
            with self._views.watching(
                key,
                lambda reader: endpoints.compile_endpoints(reader, target, caller, self._settings),
            ) as view:
                async for message in _updates(view, context):
                    yield message
        except Closed:
            return

    async def _profile(
        self, request: destination_pb2.GetDestination, context: streams.Context
    ) -> AsyncIterator[bytes]:
        try:
            caller = targets.caller_of(request.context_token)
            host, port = targets.split_port(request.path)
            if not targets.is_address(host):
                targets.service_target(request.path, domain=self._settings.cluster_domain)
        except InvalidInput as error:
            await streams.refuse(context, Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        await streams.until_synced(self._synced, context)
        key = ("profile", host, port, caller.namespace)
        async for message in streams.encoded(
            self._views,
            key,
            lambda reader: profiles.compile_profile(reader, request.path, caller, self._settings),
            context,
        ):
            yield message


async def _updates(
    view: View[EndpointSet | Refusal], context: streams.Context
) -> AsyncIterator[bytes]:
    if isinstance(view.value, Refusal):
        await streams.refuse(context, view.value)
    known, generation = view.value, view.generation
    yield view.derived(0, lambda: _encoded([updates.first(known)]))[0]
    while True:
        value = await view.after(generation)
        # A service that was deleted may come back: its watchers are told that nobody is there.
        present = _NOBODY if isinstance(value, Refusal) else value
        messages = view.derived(generation, functools.partial(_step, known=known, present=present))
        known, generation = present, view.generation
        for message in messages:
            yield message


def _step(known: EndpointSet, present: EndpointSet) -> list[bytes]:
    return _encoded(updates.difference(known, present))


def _encoded(messages: list[destination_pb2.Update]) -> list[bytes]:
    return [message.SerializeToString(deterministic=True) for message in messages]
