"""
The cases: each takes a channel to a stock server and raises AssertionError when it is wronged.

They follow the cases of grpc's own interoperability tests, by name where there is one there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import queue
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from suites.stock_grpc.service import MESSAGE_LIMIT_BYTES, OPTIONS, SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CASES", "run"]

_DEADLINE_S = 20.0
_SHORT_S = 1.0
_LARGE_BYTES = 8 << 20
_SPECIAL = "\t percent % tab\r\nUnicode BMP ☺ and beyond 😈, \x7f, %20 \t\n"
"""Everything that a status message must have escaped, and what looks as if it were."""


def run(name: str, target: str) -> None:
    """
    Run a case over a channel of its own.

    Raises:
        AssertionError: what was seen is not what was sent.
        grpc.RpcError: a call failed that must not.

    """
    options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    with grpc.insecure_channel(target, options=options) as channel:
        CASES[name](channel)


def _empty_and_large_unary(channel: grpc.Channel) -> None:
    unary = _unary_unary(channel, "Unary")
    for size in (0, 1, 1000, 65_536, 314_159, _LARGE_BYTES):
        sent = os.urandom(size)
        assert unary(sent, timeout=_DEADLINE_S) == sent, f"{size} bytes differ"


def _client_streaming(channel: grpc.Channel) -> None:
    messages = [os.urandom(size * 37 % 30_000) for size in range(500)]
    told = _stream_unary(channel, "Collect")(iter(messages), timeout=_DEADLINE_S)
    expected = f"{len(messages)} {hashlib.sha256(b''.join(messages)).hexdigest()}"
    assert told.decode() == expected, f"server received {told.decode()}, sent {expected}"


def _server_streaming(channel: grpc.Channel) -> None:
    repeat = _unary_stream(channel, "Repeat")
    for count, size in ((500, 1000), (3, 1 << 20), (0, 0)):
        got = list(repeat(_ask(count, size), timeout=_DEADLINE_S))
        assert got == [bytes([n % 256]) * size for n in range(count)], f"{count} of {size} differ"


def _ping_pong(channel: grpc.Channel) -> None:
    """Each message waits for the answer to the one before: nothing may be held back."""
    out: queue.Queue[bytes | None] = queue.Queue()
    answers = _stream_stream(channel, "Echo")(iter(out.get, None), timeout=_DEADLINE_S)
    for size in (0, 31_415, 9, 2653, 58_979, *range(50)):
        sent = os.urandom(size)
        out.put(sent)
        assert next(iter(answers)) == sent, f"{size} bytes differ"
    out.put(None)
    assert not list(answers), "messages after the end"
    assert answers.code() is grpc.StatusCode.OK, answers.code()


def _metadata(channel: grpc.Channel) -> None:
    octets = bytes(range(256))
    sent: tuple[tuple[str, str | bytes], ...] = (
        ("x-echo", "one"),
        ("x-echo", "two,  three"),
        ("x-echo-bin", octets),
        ("x-trailing", "last"),
        ("x-trailing-bin", octets[::-1]),
    )
    for method in ("Unary", "Echo"):
        if method == "Unary":
            _, call = _unary_unary(channel, "Unary").with_call(
                b"", metadata=sent, timeout=_DEADLINE_S
            )
        else:
            stream = _stream_stream(channel, "Echo")
            call = stream(iter([b"1"]), metadata=sent, timeout=_DEADLINE_S)
            assert list(call) == [b"1"], "message differs"
        for prefix, got in (
            ("x-echo", call.initial_metadata()),
            ("x-trailing", call.trailing_metadata()),
        ):
            expected = [pair for pair in sent if pair[0] in {prefix, f"{prefix}-bin"}]
            seen = [(key, value) for key, value in got if key.startswith(prefix)]
            assert seen == expected, f"{method}: {seen}, sent {expected}"


def _statuses(channel: grpc.Channel) -> None:
    """Every code, with every kind of character in its message, with and without messages before."""
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        metadata = (("x-status", str(code.value[0])), ("x-message-bin", _SPECIAL.encode()))
        unary = functools.partial(_unary_unary(channel, "Unary"), metadata=metadata)
        _same_status(_failure(unary, b""), code)
        repeat = functools.partial(_unary_stream(channel, "Repeat"), metadata=metadata)
        got: list[bytes] = []
        _same_status(_failure(_drain, repeat, _ask(3, 10), got), code)
        assert len(got) == 3, f"{code}: {len(got)} of 3 messages before the status"


def _unimplemented(channel: grpc.Channel) -> None:
    for path in (f"/{SERVICE}/Nothing", "/meshmark.Nobody/Unary"):
        error = _failure(channel.unary_unary(path, bytes, bytes), b"")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED, f"{path}: {error.code()}"


def _cancel_before_response(channel: grpc.Channel) -> None:
    name = os.urandom(8).hex()
    wait = _unary_unary(channel, "Wait")
    call = wait.future(b"", metadata=(("x-call", name),), timeout=_DEADLINE_S)
    # A call that has not arrived may end on its way, and the server would never hear of it.
    began = _unary_unary(channel, "Began")(name.encode(), timeout=_DEADLINE_S).decode()
    assert began == "running", f"at the server the call is {began}"
    call.cancel()  # type: ignore[no-untyped-call]
    assert call.code() is grpc.StatusCode.CANCELLED, call.code()
    _ended_as(channel, name, "cancelled")


def _cancel_after_first_response(channel: grpc.Channel) -> None:
    name = os.urandom(8).hex()
    repeat = _unary_stream(channel, "Repeat")
    call = repeat(_ask(10**9, 1000), metadata=(("x-call", name),), timeout=_DEADLINE_S)
    next(iter(call))
    call.cancel()  # type: ignore[no-untyped-call]
    _ended_as(channel, name, "cancelled")


def _deadline(channel: grpc.Channel) -> None:
    name = os.urandom(8).hex()
    started_s = time.monotonic()
    wait = _unary_unary(channel, "Wait")
    error = _failure(wait, b"", metadata=(("x-call", name),), timeout=_SHORT_S)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error.code()
    took_s = time.monotonic() - started_s
    assert took_s < _SHORT_S + 2, f"the deadline of {_SHORT_S} s came after {took_s:.1f} s"
    _ended_as(channel, name, "cancelled")
    left_s = float(_unary_unary(channel, "Remaining")(b"", timeout=7.0))
    assert 5.0 < left_s <= 7.1, f"the server was told of {left_s:.1f} s of 7 s"


def _too_large(channel: grpc.Channel) -> None:
    """What is above the limits ends with the status for it, and the channel survives."""
    unary = _unary_unary(channel, "Unary")
    repeat = _unary_stream(channel, "Repeat")
    error = _failure(_drain, repeat, _ask(1, MESSAGE_LIMIT_BYTES + 1), [])
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.code()
    assert unary(b"after", timeout=_DEADLINE_S) == b"after"


def _compressed(channel: grpc.Channel) -> None:
    sent = b"compressible " * 100_000
    unary = _unary_unary(channel, "Unary")
    got = unary(sent, compression=grpc.Compression.Gzip, timeout=_DEADLINE_S)
    assert got == sent, "bytes differ"


def _many_at_once(channel: grpc.Channel) -> None:
    """Twenty streams over one connection, ten at a time, each in lockstep with its own end."""

    def one(_: int) -> None:
        _ping_pong(channel)

    with futures.ThreadPoolExecutor(max_workers=10) as pool:
        list(pool.map(one, range(20)))


def _soak(channel: grpc.Channel) -> None:
    unary = _unary_unary(channel, "Unary")
    for _ in range(300):
        sent = os.urandom(271)
        assert unary(sent, timeout=_DEADLINE_S) == sent, "bytes differ"


CASES: dict[str, Callable[[grpc.Channel], None]] = {
    "empty and large unary": _empty_and_large_unary,
    "client streaming": _client_streaming,
    "server streaming": _server_streaming,
    "ping-pong": _ping_pong,
    "metadata": _metadata,
    "status codes and messages": _statuses,
    "unimplemented": _unimplemented,
    "cancel before a response": _cancel_before_response,
    "cancel after the first response": _cancel_after_first_response,
    "deadline": _deadline,
    "too large": _too_large,
    "compressed": _compressed,
    "many at once": _many_at_once,
    "soak": _soak,
}
"""Every case by name."""


def _unary_unary(channel: grpc.Channel, method: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(f"/{SERVICE}/{method}", bytes, bytes)


def _stream_unary(
    channel: grpc.Channel, method: str
) -> grpc.StreamUnaryMultiCallable[bytes, bytes]:
    return channel.stream_unary(f"/{SERVICE}/{method}", bytes, bytes)


def _unary_stream(
    channel: grpc.Channel, method: str
) -> grpc.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(f"/{SERVICE}/{method}", bytes, bytes)


def _stream_stream(
    channel: grpc.Channel, method: str
) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream(f"/{SERVICE}/{method}", bytes, bytes)


def _failure(call: Callable[..., object], *arguments: object, **options: Any) -> grpc.RpcError:
    """The error that a call ends with."""
    try:
        call(*arguments, **{"timeout": _DEADLINE_S, **options})
    except grpc.RpcError as error:
        return error
    raise AssertionError("a call that must fail succeeded")


def _drain(
    stream: Callable[..., Iterable[bytes]], request: bytes, got: list[bytes], *, timeout: float
) -> None:
    """Append the messages of a streaming call to `got`, however it ends."""
    for message in stream(request, timeout=timeout):
        got.append(message)  # noqa: PERF402 - what came before an error counts


def _ask(count: int, size: int) -> bytes:
    return json.dumps({"count": count, "size": size}).encode()


def _same_status(error: grpc.RpcError, code: grpc.StatusCode) -> None:
    assert error.code() is code, f"{error.code()}, sent {code}"
    assert error.details() == _SPECIAL, f"{code}: message {error.details()!r}, sent {_SPECIAL!r}"


def _ended_as(channel: grpc.Channel, name: str, expected: str) -> None:
    told = _unary_unary(channel, "Ended")(name.encode(), timeout=_DEADLINE_S).decode()
    assert told == expected, f"at the server the call is {told}, expected {expected}"
