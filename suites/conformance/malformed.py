"""
Requests that no proxy may pass on as they are.

HTTP/1 that can be read in two ways, HTTP/2 that breaks the rules of its frames, and bytes that
pretend to be TLS. Each case is what one client sends on one connection. Its targets carry the
case's mark, so that the application's ledger tells what became of it: `/N/good` precedes the
malformed part where there is one, `/N/bad` is the malformed request itself, and `/N/smuggled` must
never be seen. A target without a mark is one that somebody made up on the way.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from suites.conformance.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Case", "hello_of_tls", "http1", "http2", "tls"]


@dataclasses.dataclass(frozen=True)
class Case:
    """
    One connection.

    mark: what all its targets begin with.
    seen: what the application may see, the targets in order; seeing less is right too.
    must_end: whether the connection has to end, and not only its stream 1.
    """

    name: str
    bytes: bytes
    mark: str = ""
    seen: tuple[str, ...] = ()
    must_end: bool = True


def http1() -> list[Case]:
    """Malformed HTTP/1, alone where its head can be read, and after a good request."""
    cases: list[Case] = []
    for name, head, body in _framing():
        cases += [
            _case(len(cases), name, head, body, after_good=False),
            _case(len(cases) + 1, f"{name}, second", head, body, after_good=True),
        ]
    for name, text in _syntax():
        number = len(cases)
        # Alone, it might be taken for no HTTP at all, which a proxy may carry as bytes.
        sent = _good(number) + text.replace("/bad", f"/{number}/bad").encode("latin-1")
        cases.append(Case(name, sent, mark=f"/{number}/", seen=(f"/{number}/good",)))
    return cases


def http2() -> list[Case]:
    """HTTP/2 that breaks the rules of RFC 9113, after a proper preface."""
    cases = []
    for number, (name, frames, must_end) in enumerate(_frames()):
        mark = f"/{number:02}/"
        sent = PREFACE + frame(SETTINGS, 0, 0) + frames.replace(_ANY_MARK, mark.encode())
        cases.append(Case(name, sent, mark=mark, must_end=must_end))
    return cases


def tls() -> list[Case]:
    """What comes at a port that wants TLS."""
    hello = hello_of_tls()
    return [
        Case("noise", bytes(range(256)) * 4),
        Case("a record of noise", b"\x16\x03\x01\x01\x00" + bytes(range(256))),
        Case("an endless record", b"\x16\x03\x01\xff\xff" + b"\x01" * 65_535),
        Case("a ClientHello and noise", hello + b"\x17\x03\x03\x00\x40" + b"\xaa" * 64),
        Case("an alert instead of a ClientHello", b"\x15\x03\x01\x00\x02\x02\x28"),
        Case("HTTP where TLS belongs", b"GET /tls/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]


def hello_of_tls() -> bytes:
    """A ClientHello without any extension: TLS 1.2 and one cipher suite."""
    body = b"\x03\x03" + b"\x42" * 32 + b"\x00" + b"\x00\x02\xc0\x2f" + b"\x01\x00"
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake


def _framing() -> Iterable[tuple[str, str, str]]:
    """Requests whose end can be seen in two places: name, fields, and what follows the head."""
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    chunked = f"0\r\n\r\n{smuggled}"
    length = f"Content-Length: {len(chunked)}\r\n"
    yield "length before chunked", f"{length}Transfer-Encoding: chunked\r\n", chunked
    yield "length after chunked", f"Transfer-Encoding: chunked\r\n{length}", chunked
    yield "length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", chunked
    for value in ("chunked, identity", "identity", "xchunked", "chunked, chunked", "gzip", ""):
        yield f"transfer coding {value!r}", f"Transfer-Encoding: {value}\r\n{length}", chunked
    for value in ("\x0bchunked", "chunked\x00", "chunked;q=1", '"chunked"', "chun ked"):
        yield f"transfer coding {value!r}", f"Transfer-Encoding: {value}\r\n{length}", chunked
    twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"
    yield "transfer coding twice", f"{twice}{length}", chunked
    yield (
        "space after a transfer coding's name",
        f"Transfer-Encoding : chunked\r\n{length}",
        chunked,
    )
    yield "folded transfer coding", f"Transfer-Encoding:\r\n chunked\r\n{length}", chunked
    for value in ("+5", "-1", "0x5", "5,6", "5 5", "18446744073709551621", "5\x00", "five", ""):
        yield f"content length {value!r}", f"Content-Length: {value}\r\n", f"abcde{smuggled}"
    yield "lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", f"abcde{smuggled}"
    for name, body in (
        ("no number", "zz\r\nabc\r\n"),
        ("a sign", "-1\r\nabc\r\n"),
        ("a prefix", "0x3\r\nabc\r\n"),
        ("a number too large", "fffffffffffffffff\r\nabc\r\n"),
        ("a space before it", " 3\r\nabc\r\n"),
        ("a bare LF after it", "3\nabc\r\n"),
        ("a bare CR after it", "3\rXabc\r\n"),
        ("no end of its data", "3\r\nabcdef\r\n"),
        ("a NUL in its extension", "3;a=\x00\r\nabc\r\n"),
        ("a bare LF in its extension", "3;a\nb\r\nabc\r\n"),
        ("an endless extension", f"3;{'a' * 70_000}\r\nabc\r\n"),
    ):
        yield f"chunk with {name}", "Transfer-Encoding: chunked\r\n", f"{body}{chunked}"
    for name, line in (("no colon", "nonsense"), ("a bare CR", "a: b\rc: d"), ("a NUL", "a: \x00")):
        body = f"3\r\nabc\r\n0\r\n{line}\r\n\r\n{smuggled}"
        yield f"trailer with {name}", "Transfer-Encoding: chunked\r\n", body


def _syntax() -> Iterable[tuple[str, str]]:
    """Heads that are not as RFC 9112 writes them."""
    end = "Host: a\r\n\r\n"
    yield "bare LF after the request line", f"GET /bad HTTP/1.1\n{end}"
    yield "bare LF after a field", "GET /bad HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"
    yield "bare LFs only", "GET /bad HTTP/1.1\nHost: a\n\n"
    yield "bare CR in a value", "GET /bad HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n"
    yield "bare CR after the request line", "GET /bad HTTP/1.1\rHost: a\r\n\r\n"
    yield "NUL in a value", f"GET /bad HTTP/1.1\r\nX: a\x00b\r\n{end}"
    yield "NUL in a name", f"GET /bad HTTP/1.1\r\nX\x00: a\r\n{end}"
    yield "NUL in the target", f"GET /bad\x00 HTTP/1.1\r\n{end}"
    yield "field without a colon", f"GET /bad HTTP/1.1\r\nnonsense\r\n{end}"
    yield "field without a name", f"GET /bad HTTP/1.1\r\n: a\r\n{end}"
    yield "space before the colon", f"GET /bad HTTP/1.1\r\nX : a\r\n{end}"
    yield "space before the first field", f"GET /bad HTTP/1.1\r\n X: a\r\n{end}"
    yield "folded field", f"GET /bad HTTP/1.1\r\nX: a\r\n b\r\n{end}"
    yield "two hosts", "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    yield "method with a colon", f"GE:T /bad HTTP/1.1\r\n{end}"
    yield "method in brackets", f"(GET) /bad HTTP/1.1\r\n{end}"
    yield "space in the target", f"GET /bad /worse HTTP/1.1\r\n{end}"
    yield "version in small letters", f"GET /bad http/1.1\r\n{end}"
    yield "version without a point", f"GET /bad HTTP/11\r\n{end}"
    yield "version 2 without its preface", f"GET /bad HTTP/2.0\r\n{end}"
    yield "version 1.10", f"GET /bad HTTP/1.10\r\n{end}"
    yield "one field too large", f"GET /bad HTTP/1.1\r\nX: {'a' * 300_000}\r\n{end}"
    yield "target too large", f"GET /bad{'a' * 300_000} HTTP/1.1\r\n{end}"
    yield "too many fields", "GET /bad HTTP/1.1\r\n" + "X: a\r\n" * 20_000 + end


def _case(number: int, name: str, head: str, body: str, *, after_good: bool) -> Case:
    text = f"POST /{number}/bad HTTP/1.1\r\nHost: a\r\n{head}\r\n{body}"
    sent = text.replace("/smuggled", f"/{number}/smuggled").encode("latin-1")
    mark = f"/{number}/"
    if not after_good:
        return Case(name, sent, mark=mark)
    return Case(name, _good(number) + sent, mark=mark, seen=(f"/{number}/good",))


def _good(number: int) -> bytes:
    return f"GET /{number}/good HTTP/1.1\r\nHost: a\r\n\r\n".encode()


_METHOD, _SCHEME = b"\x82", b"\x86"
_ANY_MARK = b"/NN/"
"""Stands for the mark of a case, which is as long."""

_REQUEST = _METHOD + _SCHEME + b"\x44\x07" + _ANY_MARK + b"bad" + b"\x41\x01a"
"""A request head in HPACK: GET, http, `/NN/bad`, authority `a`."""


def _frames() -> Iterable[tuple[str, bytes, bool]]:
    """Frames after the preface; whether the whole connection, or only a stream, has to end."""
    yield "frame above the size limit", frame(DATA, 0, 1, b"a" * 16_385), True
    yield "SETTINGS of odd length", frame(SETTINGS, 0, 0, b"\x00" * 5), True
    yield "SETTINGS on a stream", frame(SETTINGS, 0, 1), True
    yield "SETTINGS acknowledged with content", frame(SETTINGS, 1, 0, b"\x00" * 6), True
    too_wide = b"\x00\x04" + (2**31).to_bytes(4, "big")
    yield "window above the limit", frame(SETTINGS, 0, 0, too_wide), True
    yield "DATA on stream 0", frame(DATA, 0, 0, b"a"), True
    yield "DATA on an idle stream", frame(DATA, END_STREAM, 1, b"a"), True
    yield "HEADERS on stream 0", frame(HEADERS, END_HEADERS, 0, _REQUEST), True
    yield "HEADERS on an even stream", frame(HEADERS, END_HEADERS, 2, _REQUEST), True
    yield "stream numbers going back", _backwards(), True
    yield "padding longer than the frame", frame(HEADERS, PADDED, 1, b"\xff" + _REQUEST), True
    yield "index outside the tables", frame(HEADERS, END_HEADERS, 1, b"\xff\xff\x7f"), True
    yield "string that ends early", frame(HEADERS, END_HEADERS, 1, b"\x44\x7f/"), True
    yield "table above its limit", frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\x7f"), True
    yield "CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, _REQUEST), True
    broken = frame(HEADERS, END_STREAM, 1, _REQUEST) + frame(PING, 0, 0, b"a" * 8)
    yield "PING inside a header block", broken, True
    yield "endless CONTINUATION", _flood(), True
    yield "PING of odd length", frame(PING, 0, 0, b"a" * 7), True
    yield "PING on a stream", frame(PING, 0, 1, b"a" * 8), True
    yield "PUSH_PROMISE of a client", frame(PUSH, END_HEADERS, 1, b"\x00\x00\x00\x02"), True
    yield "GOAWAY on a stream", frame(GOAWAY, 0, 1, b"\x00" * 8), True
    yield "WINDOW_UPDATE of nothing", frame(WINDOW, 0, 0, b"\x00" * 4), True
    yield "RST_STREAM on an idle stream", frame(RST, 0, 1, b"\x00" * 4), True
    yield "noise instead of frames", b"\xde\xad\xbe\xef" * 64, True
    for name, field in (
        ("name in capitals", b"\x00\x01X\x01a"),
        ("connection field", b"\x00\x0aconnection\x05close"),
        ("transfer coding", b"\x00\x11transfer-encoding\x07chunked"),
        ("unknown pseudo field", b"\x00\x05:what\x01a"),
        ("second path", b"\x44\x08" + _ANY_MARK + b"more"),
        ("LF in a value", b"\x00\x01x\x03a\nb"),
        ("NUL in a value", b"\x00\x01x\x03a\x00b"),
        ("TE beyond trailers", b"\x00\x02te\x04gzip"),
    ):
        block = _REQUEST + field
        yield name, frame(HEADERS, END_HEADERS | END_STREAM, 1, block), False
    yield "no path", frame(HEADERS, END_HEADERS | END_STREAM, 1, _METHOD + _SCHEME), False
    yield "no method", frame(HEADERS, END_HEADERS | END_STREAM, 1, _REQUEST[1:]), False
    short = _REQUEST + b"\x0f\x0d\x0210"  # content-length: 10
    body = frame(HEADERS, END_HEADERS, 1, short) + frame(DATA, END_STREAM, 1, b"abc")
    yield "content shorter than its length", body, False


def _backwards() -> bytes:
    """Stream 3, and then stream 1; both incomplete, so that nothing is there to be served."""
    return frame(HEADERS, END_HEADERS, 3, b"") + frame(HEADERS, END_HEADERS, 1, b"")


def _flood() -> bytes:
    """A header block of a megabyte, in pieces."""
    piece = b"\x00\x01x\x7f\x81\x3e" + b"a" * 8125  # a literal of 8125 bytes
    more = b"".join(frame(CONTINUATION, 0, 1, piece) for _ in range(128))
    return frame(HEADERS, END_STREAM, 1, _REQUEST) + more
