"""What a capture found, and what it says of the wire."""

from __future__ import annotations

import base64

import msgspec

__all__ = ["Count", "Find", "Findings", "Flow"]


class Count(msgspec.Struct, frozen=True):
    """
    Packets in one direction.

    payload_bytes: above TCP or UDP. opened: TCP connections opened. resets: TCP resets.
    """

    packets: int
    payload_bytes: int
    opened: int
    resets: int


class Find(msgspec.Struct, frozen=True):
    """Where the pattern with number `pattern` was seen. Addresses are `address:port`."""

    pattern: int
    source: str
    destination: str
    outgoing: bool


class Flow(msgspec.Struct, frozen=True):
    """
    One direction of a connection. Addresses are `address:port`.

    start: the first payload bytes in base64, at most 1536.
    """

    protocol: str
    source: str
    destination: str
    outgoing: bool
    packets: int
    payload_bytes: int
    opened: int
    resets: int
    start: str

    @property
    def start_bytes(self) -> bytes:
        """The first payload bytes of this direction."""
        return base64.b64decode(self.start)

    @property
    def is_tls(self) -> bool:
        """Whether this direction begins with a TLS handshake record."""
        head = self.start_bytes[:3]
        return head[:2] == b"\x16\x03" and head[2:] in {b"\x01", b"\x02", b"\x03", b"\x04"}


class Findings(msgspec.Struct, frozen=True):
    """
    What a capture found.

    matches: how often each pattern was seen, in the order given; finds: where, the first 100.
    received, sent: packets by the local port; received_from, sent_to: by the peer's port.
    flows_dropped: connections that found no place in `flows`; they were searched and counted.
    kernel_drops: packets that were lost unseen. More than 0 and absence is not proven.
    error: why the capture ended early; None when it did not.
    """

    packets: int
    other_packets: int
    matches: list[int]
    finds: list[Find]
    received: dict[int, Count]
    sent: dict[int, Count]
    received_from: dict[int, Count]
    sent_to: dict[int, Count]
    flows_dropped: int
    flows: list[Flow]
    kernel_packets: int
    kernel_drops: int
    error: str | None

    @property
    def is_complete(self) -> bool:
        """Whether every packet was seen, so that what was not found was not there."""
        return self.error is None and self.kernel_drops == 0
