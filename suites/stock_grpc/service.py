"""
The methods that the cases call, on a stock server.

Metadata steers a call: `x-echo` and `x-echo-bin` come back as initial metadata, `x-trailing` and
`x-trailing-bin` as trailing; `x-status` and `x-message-bin` end the call with that status once
everything was sent; `x-call` names the call for `Began` and `Ended`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent import futures
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MESSAGE_LIMIT_BYTES", "OPTIONS", "SERVICE", "serve"]

SERVICE = "meshmark.Stock"

MESSAGE_LIMIT_BYTES = 16 << 20

OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.enable_http_proxy", 0),
    # A call that is tried again would hide what the mesh did to it.
    ("grpc.enable_retries", 0),
)

_STATUSES = {code.value[0]: code for code in grpc.StatusCode}
_LONGEST_S = 30.0
"""How long a call that waits for its own end waits."""
_TOLD_S = 15.0
"""How long `Began` and `Ended` wait for what they tell of: less than callers wait for them."""

_UNSEEN, _RUNNING = "unseen", "running"


def serve(port: int) -> tuple[grpc.Server, int]:
    """
    Start a server on all addresses and tell its port; 0 chooses a free one. The caller stops it.

    Raises:
        RuntimeError: the port is taken.

    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=128), options=OPTIONS)
    server.add_generic_rpc_handlers((_handlers(_Calls()),))
    port = server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    return server, port


class _Calls:
    """How far calls that carried a name are, and whether their handler was through at their end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, str] = {}

    def follow(self, context: grpc.ServicerContext) -> _Call:
        call = _Call()
        name = _metadata(context).get("x-call")

        def ended() -> None:
            call.ended.set()
            self._note(name, "complete" if call.through else "cancelled")

        self._note(name, _RUNNING)
        if not context.add_callback(ended):  # it was over before its handler began
            ended()
        return call

    def begin_of(self, name: str) -> str:
        return self._state_of(name, {_UNSEEN})

    def end_of(self, name: str) -> str:
        return self._state_of(name, {_UNSEEN, _RUNNING})

    def _note(self, name: str | bytes | None, state: str) -> None:
        if name is not None:
            with self._changed:
                self._states[str(name)] = state
                self._changed.notify_all()

    def _state_of(self, name: str, other_than: set[str]) -> str:
        def state() -> str:
            return self._states.get(name, _UNSEEN)

        with self._changed:
            self._changed.wait_for(lambda: state() not in other_than, timeout=_TOLD_S)
            return state()


class _Call:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.through = False


def _handlers(calls: _Calls) -> grpc.GenericRpcHandler[bytes, bytes]:
    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        with _Answering(calls, context):
            return request

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        call = calls.follow(context)
        call.ended.wait(_LONGEST_S)
        return request

    def remaining(_: bytes, context: grpc.ServicerContext) -> bytes:
        return str(context.time_remaining()).encode()

    def began(request: bytes, _: grpc.ServicerContext) -> bytes:
        return calls.begin_of(request.decode()).encode()

    def ended(request: bytes, _: grpc.ServicerContext) -> bytes:
        return calls.end_of(request.decode()).encode()

    def collect(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with _Answering(calls, context):
            hashed, count = hashlib.sha256(), 0
            for request in requests:
                hashed.update(request)
                count += 1
            return f"{count} {hashed.hexdigest()}".encode()

    def repeat(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        with _Answering(calls, context) as call:
            asked = json.loads(request)
            for number in range(asked["count"]):
                if call.ended.is_set():
                    return
                yield bytes([number % 256]) * asked["size"]

    def echo(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with _Answering(calls, context):
            yield from requests

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
        "Began": grpc.unary_unary_rpc_method_handler(began),
        "Ended": grpc.unary_unary_rpc_method_handler(ended),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


class _Answering:
    """Does what the metadata asks for around the body of a handler."""

    def __init__(self, calls: _Calls, context: grpc.ServicerContext) -> None:
        self._context = context
        self._metadata = _metadata(context)
        self._call = calls.follow(context)

    def __enter__(self) -> _Call:
        self._send("x-echo", self._context.send_initial_metadata)
        return self._call

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        self._send("x-trailing", self._context.set_trailing_metadata)
        if "x-status" in self._metadata:
            self._context.set_code(_STATUSES[int(self._metadata["x-status"])])
            message = self._metadata.get("x-message-bin", b"")
            assert isinstance(message, bytes)
            self._context.set_details(message.decode())
        self._call.through = True

    def _send(
        self, prefix: str, send: Callable[[tuple[tuple[str, str | bytes], ...]], None]
    ) -> None:
        pairs = self._context.invocation_metadata()
        chosen = tuple((key, value) for key, value in pairs if key in {prefix, f"{prefix}-bin"})
        if chosen:
            send(chosen)


def _metadata(context: grpc.ServicerContext) -> dict[str, str | bytes]:
    return dict(context.invocation_metadata())
