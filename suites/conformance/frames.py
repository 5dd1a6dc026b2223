"""Frames of HTTP/2: making them, well or ill, and what those that come back make of a stream."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "PADDED",
    "PING",
    "PREFACE",
    "PUSH",
    "RST",
    "SETTINGS",
    "WINDOW",
    "end_of_stream",
    "frame",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, _PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8

_HEAD_BYTES = 9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, whether or not it makes sense."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def end_of_stream(
    received: bytes, stream: int
) -> Literal["reset", "connection error", "response"] | None:
    """
    How a server ended a stream, read from what it sent; None when it did not.

    A response is an end too, with which a server may tell what is wrong (RFC 9113 section 8.1.1). A
    GOAWAY without an error is none: streams go on after it.
    """
    while len(received) >= _HEAD_BYTES:
        length, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
        concerned = int.from_bytes(received[5:9], "big")
        payload = received[_HEAD_BYTES : _HEAD_BYTES + length]
        if kind == GOAWAY and any(payload[4:8]):
            return "connection error"
        if concerned == stream and kind == RST:
            return "reset"
        if concerned == stream and kind in {DATA, HEADERS} and flags & END_STREAM:
            return "response"
        received = received[_HEAD_BYTES + length :]
    return None
