"""
What a client is told to do: one struct per plan, as the workload reads it.

The field names and defaults are those of the program, which refuses what it does not know.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.workload.records import Fields

__all__ = ["Body", "Http1", "Messages", "Plan", "Tcp", "steer"]


def steer(**instructions: str | int | bool) -> str:
    """
    Make the value of the steering header: `steer(status=503, fail_until=3)`.

    Underscores in names become hyphens; True becomes 1.
    """
    return ";".join(
        f"{name.replace('_', '-')}={int(value) if isinstance(value, bool) else value}"
        for name, value in instructions.items()
    )


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    A request body, made in the pod from a seed.

    block: bytes per write, chunk or frame, at most 65536. pace_ms: pause before each block.
    """

    bytes: int
    seed: int = 0
    chunked: bool = False
    block: int = 65536
    pace_ms: int = 0


class Messages(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Messages of a gRPC, WebSocket, TCP or upgraded call.

    count: 0 sends until the traffic is stopped. Message i is made from `seed + i`.
    lockstep: wait for the echo of each message before the next.
    payload_hex: send these bytes as each message; for gRPC without the five bytes before it.
    """

    count: int = 1
    bytes: int = 16
    seed: int = 0
    pace_ms: int = 0
    lockstep: bool = False
    payload_hex: str | None = None


class Http1(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What an HTTP/1 request looks like on the wire.

    version: `1.1` or `1.0`. target: sent as it is, in place of the URL's path.
    host: value of `Host`; no_host: send none. expect: `Expect: 100-continue`.
    upgrade: token; after 101 the plan's messages are sent as plain bytes.
    raw_hex: these bytes are the whole request. half_close: end the sending half after it.
    """

    version: Literal["1.0", "1.1"] | None = None
    target: str | None = None
    host: str | None = None
    no_host: bool = False
    expect: bool = False
    upgrade: str | None = None
    raw_hex: str | None = None
    half_close: bool = False


class Tcp(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a TCP call does.

    greeted: read a line before sending. bare: no opening line with id and steering.
    keep_open: end the sending half only when everything sent came back.
    """

    greeted: bool = False
    bare: bool = False
    keep_open: bool = False


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One or many calls of the same kind, none of them ever retried.

    url: `http://host:port/path` or `tcp://host:port`; connect: `host:port` to dial instead.
    id: prefix of the request ids `<id>-<n>`; empty sends none.
    steer: value of the steering header, see `steer`.
    count: calls; 1 without a duration. duration_s: how long to start new ones.
    rate_rps: start calls at this rate whether or not earlier ones ended (up to `concurrency`
        at once); None: each of `concurrency` callers goes on when its last call ended.
    connections: kept for further calls; 0 opens one per call; None: `concurrency` for HTTP/1,
        1 for HTTP/2 and gRPC.
    deadline_s: longest time for one call, connecting included.
    read_rate: read responses no faster than this many bytes a second.
    keep_bytes: how much of each response body its outcome carries, at most 65536.
    brief: leave header and trailer fields out of the outcomes.
    cancel_after_ms: give each call up after this time.
    """

    url: str
    protocol: Literal["h1", "h2", "grpc", "ws", "tcp"] = "h1"
    connect: str | None = None
    method: str = "GET"
    headers: Fields = []
    id: str = ""
    steer: str = ""
    count: int | None = None
    duration_s: float | None = None
    rate_rps: float | None = None
    concurrency: int = 1
    connections: int | None = None
    body: Body | None = None
    trailers: Fields = []
    deadline_s: float = 10.0
    connect_timeout_s: float = 5.0
    read_rate: int | None = None
    keep_bytes: int = 0
    brief: bool = False
    cancel_after_ms: int | None = None
    messages: Messages = Messages()
    http1: Http1 = Http1()
    tcp: Tcp = Tcp()

    def json(self) -> bytes:
        """Encode the plan as the workload reads it."""
        encoded = msgspec.to_builtins(self)
        return msgspec.json.encode({**encoded, "protocol": self.protocol})
