"""
What workloads report: attempts of the server, outcomes of the client, findings of the helper.

Times are integers in nanoseconds: `*_ns` counts from the Unix epoch, `*_after_ns` from the start of
the call. Fields of messages are lists of name and value in the order and case of the wire; bytes
above 0x7f are the Latin-1 characters of the same number. Hashes are SHA-256 in lower-case hex.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "Attempt",
    "ConnectionFacts",
    "Connections",
    "Failure",
    "Fields",
    "Interim",
    "Ledger",
    "LedgerSummary",
    "Outcome",
    "Traffic",
    "TrafficSummary",
    "field",
]

Fields = list[tuple[str, str]]


def field(fields: Fields, name: str) -> str | None:
    """Value of the first field called `name`, whatever its case; None when there is none."""
    return next((value for other, value in fields if other.lower() == name.lower()), None)


class Attempt(msgspec.Struct, frozen=True):
    """
    One attempt as the application recorded it.

    seq: order of completion within the process, from 1.
    id: the request id that joins the ledgers; None when the request carried none.
    attempt: how often this id had arrived, this time included.
    protocol: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`, `tcp`, or `HTTP/1` for what could not be read.
    headers: at most the first 256 fields; `header_count` and `headers_sha256` cover all.
    connection: number of the application's connection, from 1; `nth_on_connection` from 1.
    outcome: `abandoned` is the peer's doing, `aborted` the application's own end.
    note: what was wrong, or empty.
    """

    seq: int
    id: str | None
    attempt: int
    port: int
    protocol: str
    method: str
    target: str
    authority: str | None
    scheme: str | None
    headers: Fields
    header_count: int
    headers_sha256: str
    trailers: Fields
    connection: int
    nth_on_connection: int
    peer: str
    local: str
    arrived_ns: int
    responded_ns: int | None
    finished_ns: int
    body_bytes: int
    body_sha256: str
    status: int | None
    sent_bytes: int
    sent_sha256: str
    outcome: Literal["complete", "steered", "malformed", "abandoned", "aborted"]
    note: str

    def header(self, name: str) -> str | None:
        """Value of the first header field called `name`, whatever its case."""
        return field(self.headers, name)


class LedgerSummary(msgspec.Struct, frozen=True):
    """
    The counts of a ledger.

    boot: differs for each start of the process, which empties the ledger.
    dropped: records lost for want of memory since the last reset.
    in_progress_high: most attempts in progress at once since the last reset.
    """

    boot: str
    pod: str
    dropped: int
    last: int
    arrived: int
    in_progress: int
    in_progress_high: int


class Ledger(msgspec.Struct, frozen=True):
    """A summary and the attempts that were read with it, by `seq`."""

    summary: LedgerSummary
    attempts: list[Attempt]

    def by_id(self) -> dict[str, list[Attempt]]:
        """Attempts that carried an id, grouped by it, in order of arrival."""
        groups: dict[str, list[Attempt]] = {}
        for attempt in sorted(self.attempts, key=lambda attempt: attempt.arrived_ns):
            if attempt.id is not None:
                groups.setdefault(attempt.id, []).append(attempt)
        return groups


class ConnectionFacts(msgspec.Struct, frozen=True):
    """
    One connection that the application accepted.

    protocol: `HTTP/1`, `HTTP/2`, `tcp`, or empty when nothing was received.
    closed_ns: None while it is open.
    """

    connection: int
    port: int
    protocol: str
    peer: str
    local: str
    opened_ns: int
    closed_ns: int | None
    requests: int
    end: str


class Connections(msgspec.Struct, frozen=True):
    """
    Connections since the last reset: totals, and each that is open or closed lately.

    dropped: closed connections that are counted in the totals but no longer listed.
    """

    opened: int
    open: int
    open_high: int
    dropped: int
    connections: list[ConnectionFacts]


class Interim(msgspec.Struct, frozen=True):
    """An informational response (1xx)."""

    status: int
    headers: Fields


class Failure(msgspec.Struct, frozen=True):
    """
    Why a call failed.

    kind: dns, refused, unreachable, reset, eof, timeout, malformed, h2, goaway, cancelled,
        mismatch, or io.
    phase: where it failed: resolve, connect, head (sending, waiting), body.
    code: HTTP/2 error code.
    """

    kind: str
    phase: Literal["resolve", "connect", "head", "body"]
    message: str
    code: int | None = None


class Outcome(msgspec.Struct, frozen=True):
    """
    One call as the client saw it. It is made once, whatever becomes of it.

    n: number within the plan, from 0. With a rate, `intended_ns` is when it was due.
    connection: number of the client's connection within the plan, from 1; 0 without one.
    connected_after_ns: None when a connection was used again.
    pod, attempt: who answered, and which attempt, by the application's own word.
    body_head: the first `keep_bytes` of the response body as Latin-1.
    end: how the server ended its half, where that was seen: `fin` or `reset`.
    error: None when a whole response came, whatever its status.
    """

    n: int
    id: str | None
    intended_ns: int
    started_ns: int
    connected_after_ns: int | None
    head_after_ns: int | None
    ended_after_ns: int
    connection: int
    local: str | None
    peer: str | None
    version: str | None
    status: int | None
    grpc_status: int | None
    grpc_message: str | None
    pod: str | None
    attempt: int | None
    headers: Fields
    trailers: Fields
    interim: list[Interim]
    body_bytes: int
    body_sha256: str
    body_head: str
    sent_bytes: int
    sent_sha256: str
    messages_sent: int
    messages_received: int
    longest_gap_ns: int
    end: Literal["fin", "reset"] | None
    error: Failure | None

    def header(self, name: str) -> str | None:
        """Value of the first response field called `name`, whatever its case."""
        return field(self.headers, name)

    @property
    def ok(self) -> bool:
        """Whether a whole response came and, where it has a status, that is 2xx and gRPC 0."""
        return (
            self.error is None
            and (self.status is None or self.status == 101 or 200 <= self.status < 300)
            and self.grpc_status in {None, 0}
        )

    @property
    def latency_ns(self) -> int:
        """From when the call was due to its end."""
        return self.started_ns - self.intended_ns + self.ended_after_ns


class TrafficSummary(msgspec.Struct, frozen=True):
    """
    Counts of a traffic so far.

    results: calls by status, or by kind of error where there was no whole response.
    dropped: outcomes lost for want of room; the counts cover them.
    ends: how connections that were kept ended: `announced` (Connection: close), `goaway`, or
        `closed` (found closed between two calls).
    """

    calls: int
    errors: int
    results: dict[str, int]
    dropped: int
    connections: int
    ends: dict[str, int]
    running: bool


class Traffic(msgspec.Struct, frozen=True):
    """A traffic that ended: its counts and its outcomes, in the order in which calls ended."""

    summary: TrafficSummary
    outcomes: list[Outcome]

    @property
    def failed(self) -> list[Outcome]:
        """Outcomes that are not `ok`."""
        return [outcome for outcome in self.outcomes if not outcome.ok]
