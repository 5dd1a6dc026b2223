"""What frames of HTTP/2 make of a stream."""

from __future__ import annotations

import pytest

from suites.conformance.frames import (
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST,
    SETTINGS,
    end_of_stream,
    frame,
)

SETTINGS_FIRST = frame(SETTINGS, 0, 0, bytes(6)) + frame(SETTINGS, 1, 0)
LAST_STREAM, NO_ERROR, PROTOCOL_ERROR = b"\x7f\xff\xff\xff", bytes(4), b"\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("frames", "end"),
    [
        (frame(RST, 0, 1, PROTOCOL_ERROR), "reset"),
        (frame(GOAWAY, 0, 0, bytes(4) + PROTOCOL_ERROR), "connection error"),
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x8c"), "response"),
    ],
)
def test_a_stream_ends(frames: bytes, end: str) -> None:
    assert end_of_stream(SETTINGS_FIRST + frames, 1) == end


@pytest.mark.parametrize(
    "frames",
    [
        b"",
        frame(RST, 0, 3, PROTOCOL_ERROR),
        frame(GOAWAY, 0, 0, LAST_STREAM + NO_ERROR),
        frame(HEADERS, END_HEADERS, 1, b"\x88"),
        frame(RST, 0, 1, PROTOCOL_ERROR)[:8],
    ],
)
def test_a_stream_goes_on(frames: bytes) -> None:
    assert end_of_stream(SETTINGS_FIRST + frames, 1) is None
