"""Limits of a request's head, over real connections."""

from __future__ import annotations

import socket
import ssl

import pytest

from harness.cluster.embedded.api import http1

LIMIT_S = 0.2
GOOD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(http1, "_HEAD_LIMIT_S", LIMIT_S)


@pytest.fixture
def connection(served):
    context = ssl.create_default_context(cafile=served.ca)
    host, port = served.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=2) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        yield connection


def ends(connection):
    """Whether the server ends the connection without a word, before the socket's own limit."""
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def answered(connection):
    """The status line, with the whole response read."""
    response = b""
    while not response.endswith(b"ok"):
        response += connection.recv(4096)
    return response.split(b"\r\n")[0]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", [b"", b"G", b"GET / HTTP/1.1\r\n", GOOD[:-2]])
def test_a_head_that_never_ends_ends_the_connection(connection, part):
    connection.sendall(part)
    assert ends(connection)


@pytest.mark.usefixtures("impatient")
def test_the_limit_holds_for_a_later_request_too(connection):
    connection.sendall(GOOD)
    assert b" 200 " in answered(connection)
    connection.sendall(GOOD[:-2])
    assert ends(connection)


@pytest.mark.usefixtures("impatient")
def test_a_connection_may_rest_between_requests(connection):
    connection.sendall(GOOD)
    assert b" 200 " in answered(connection)
    connection.settimeout(2 * LIMIT_S)
    assert not ends(connection)
    connection.sendall(GOOD)
    assert b" 200 " in answered(connection)


def test_a_head_in_pieces_is_taken_within_the_limit(connection):
    for byte in GOOD:
        connection.sendall(bytes([byte]))
    assert b" 200 " in answered(connection)


def test_a_head_that_is_too_large_is_refused(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000)
    assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
