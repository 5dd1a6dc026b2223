"""The workload's gRPC against the stock implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.workload import Workload
    from tests.workload.conftest import Running


@pytest.fixture
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['http']}") as channel:
        yield channel


def test_a_stock_client_gets_its_messages_back(channel: grpc.Channel, workload: Workload) -> None:
    """Unary and bidirectional calls of a stock client are echoed message by message."""
    messages = [b"", b"a" * 100_000, b"last"]
    unary = channel.unary_unary("/any.Service/Unary")(b"hello", timeout=5)
    streamed = list(channel.stream_stream("/any.Service/Stream")(iter(messages), timeout=5))

    assert unary == b"hello"
    assert streamed == messages
    targets = [attempt.target for attempt in workload.settled().attempts]
    assert targets == ["/any.Service/Unary", "/any.Service/Stream"]


def test_a_stock_client_sees_the_steered_status(channel: grpc.Channel) -> None:
    """A status arrives with its code and message, from trailers and from the head alone."""
    call = channel.unary_unary("/any.Service/Unary")
    for steering in ("grpc-status=7", "grpc-status=7;trailers-only=1", "grpc-status=7;messages=0"):
        with pytest.raises(grpc.RpcError) as failed:
            call(b"", metadata=[("x-meshmark", steering)], timeout=5)
        assert failed.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert failed.value.details() == "as steered"
