"""Rogue TLS peers: what they are told, and what they report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
from cryptography import x509

from harness.workload.records import Fields, field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.x509 import Certificate

__all__ = [
    "TRANSPORT_ALPN",
    "HttpRequest",
    "Nothing",
    "RawBytes",
    "RogueConnection",
    "RogueServerReport",
    "TlsProbe",
    "TlsReport",
    "TransportHeader",
    "h1",
    "h2",
]

TRANSPORT_ALPN = "transport.l5d.io/v1"
"""ALPN protocol by which Linkerd proxies announce a transport header."""


class TransportHeader(msgspec.Struct, frozen=True):
    """
    Linkerd's header of a tagged connection.

    port: where the connection is meant to go in the pod. name: a gateway's target.
    session_protocol: None for opaque bytes.
    """

    port: int = 0
    name: str = ""
    session_protocol: Literal["http1", "http2"] | None = None


class Nothing(msgspec.Struct, frozen=True, tag="nothing", tag_field="kind"):
    """Send nothing: read until the server ends or the deadline passes."""


class RawBytes(msgspec.Struct, frozen=True, tag="raw", tag_field="kind"):
    """Send these bytes (hex), then read until the server ends or the deadline passes."""

    hex: str


class _H1(msgspec.Struct, frozen=True, tag="h1", tag_field="kind"):
    method: str
    path: str
    authority: str
    headers: Fields
    body_hex: str | None


class _H2(msgspec.Struct, frozen=True, tag="h2", tag_field="kind"):
    method: str
    path: str
    authority: str
    headers: Fields
    body_hex: str | None


HttpRequest = _H1 | _H2
"""A request; the probe ends with its response."""


def h1(
    authority: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> _H1:
    """Send an HTTP/1.1 request."""
    return _H1(method, path, authority, list(headers), None if body is None else body.hex())


def h2(
    authority: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> _H2:
    """Send an HTTP/2 request."""
    return _H2(method, path, authority, list(headers), None if body is None else body.hex())


class TlsProbe(msgspec.Struct, frozen=True):
    """
    A TLS client that checks nothing and shows whatever it is given.

    address: `host:port`. server_name: SNI; None sends none. alpn: protocols to offer.
    cert_pem, key_pem: chain (leaf first) and key, both or none; they need not fit each other.
    roots_pem: judge the server by these; it is accepted all the same.
    session: name of a session. A later probe of the same name offers the tickets of the first,
        with the first one's certificate, versions and ALPN.
    transport_header: sent right after the handshake, before `send`.
    deadline_s: longest time for all of it. keep_bytes: how much of what comes back is reported.
    """

    address: str
    server_name: str | None = None
    alpn: Sequence[str] = ()
    versions: Sequence[Literal["1.2", "1.3"]] = ("1.3",)
    cert_pem: str | None = None
    key_pem: str | None = None
    roots_pem: str | None = None
    session: str | None = None
    transport_header: TransportHeader | None = None
    send: Nothing | RawBytes | _H1 | _H2 = Nothing()
    deadline_s: float = 5.0
    keep_bytes: int = 4096


class TlsReport(msgspec.Struct, frozen=True):
    """
    What became of a probe.

    handshake: whether it completed on the client's side. A TLS 1.3 server may refuse the client's
        certificate after that: look at `refused`, not at this alone.
    alert: the alert that the server sent, whenever it did, spelt as in RFC 8446.
    error: dns, refused, reset, eof, timeout, tls, malformed, h2 or io; None when all went well.
    end: close_notify, fin (without one), reset, alert or timeout.
    tickets: session tickets received. resumed: whether the server took one.
    verify_error: why the server's chain does not lead from `roots_pem` to its name.
    received: the first `keep_bytes` application bytes in base64; for HTTP of the body.
    """

    connected: bool
    handshake: bool
    handshake_ns: int
    version: str | None
    cipher: str | None
    alpn: str | None
    resumed: bool
    tickets: int
    peer_chain: list[str]
    verify_error: str | None
    alert: str | None
    error: str | None
    message: str
    end: str | None
    status: int | None
    headers: Fields
    trailers: Fields
    received_bytes: int
    received_sha256: str
    received: str

    @property
    def refused(self) -> bool:
        """Whether the server gave nothing away: no response and not one application byte."""
        return self.status is None and self.received_bytes == 0

    @property
    def received_start(self) -> bytes:
        """The first application bytes."""
        return base64.b64decode(self.received)

    @property
    def certificates(self) -> list[Certificate]:
        """The server's certificates, leaf first; empty when the session was resumed."""
        return _certificates(self.peer_chain)

    def header(self, name: str) -> str | None:
        """Value of the first response field called `name`, whatever its case."""
        return field(self.headers, name)


class RogueConnection(msgspec.Struct, frozen=True):
    """
    One connection to a rogue server.

    start_hex: the first bytes on the wire, at most 64: `160301` begins a TLS handshake.
    alert: the alert that the client sent. error: eof, reset, tls or io.
    received_bytes, received_hex: application bytes and their start; only without `http`.
    """

    peer: str
    at_ns: int
    start_hex: str
    server_name: str | None
    alpn_offered: list[str]
    alpn: str | None
    handshake: bool
    peer_chain: list[str]
    alert: str | None
    error: str | None
    message: str
    transport_header: TransportHeader | None
    received_bytes: int
    received_hex: str

    @property
    def is_tls(self) -> bool:
        """Whether the client began with a TLS handshake record."""
        return self.start_hex.startswith("1603")

    @property
    def certificates(self) -> list[Certificate]:
        """The client's certificates, leaf first."""
        return _certificates(self.peer_chain)


class RogueServerReport(msgspec.Struct, frozen=True):
    """Connections that a rogue server accepted: all counted, the first 1000 listed."""

    accepted: int
    connections: list[RogueConnection]


def _certificates(chain: list[str]) -> list[Certificate]:
    return [x509.load_der_x509_certificate(base64.b64decode(encoded)) for encoded in chain]
