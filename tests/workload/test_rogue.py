"""Rogue TLS peers against each other, raw bytes, and processes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509

from harness.errors import ClusterError, UsageError
from harness.workload import (
    TRANSPORT_ALPN,
    Helper,
    RawBytes,
    TlsProbe,
    TransportHeader,
    Workload,
    h1,
    h2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.workload.conftest import Running


class Identity:
    """A name with certificate and key, issued by a CA."""

    def __init__(self, ca: trustme.CA, name: str) -> None:
        issued = ca.issue_cert(name)
        self.cert_pem = "".join(pem.bytes().decode() for pem in issued.cert_chain_pems)
        self.key_pem = issued.private_key_pem.bytes().decode()
        self.ca_pem = ca.cert_pem.bytes().decode()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_identity(ca: trustme.CA) -> Identity:
    return Identity(ca, "server.test")


@pytest.fixture(scope="module")
def client_identity(ca: trustme.CA) -> Identity:
    return Identity(ca, "client.test")


@pytest.mark.parametrize(("request_", "version"), [(h1("a"), "HTTP/1.1"), (h2("a"), "HTTP/2.0")])
def test_a_transport_header_and_a_request_pass(
    helper: Helper,
    server_identity: Identity,
    client_identity: Identity,
    request_: object,
    version: str,
) -> None:
    """Both sides name what was negotiated and shown, and the request is in the ledger."""
    header = TransportHeader(port=8080, name="x.y", session_protocol="http1")
    with helper.tls_server(
        server_identity.cert_pem, server_identity.key_pem, alpn=["h2", TRANSPORT_ALPN]
    ) as server:
        report = helper.tls_probe(
            TlsProbe(
                address=f"127.0.0.1:{server.port}",
                server_name="server.test",
                alpn=[TRANSPORT_ALPN],
                cert_pem=client_identity.cert_pem,
                key_pem=client_identity.key_pem,
                roots_pem=server_identity.ca_pem,
                transport_header=header,
                send=request_,  # type: ignore[arg-type]
            )
        )
    (seen,) = server.stop().connections

    assert (report.status, report.alpn, report.version) == (200, TRANSPORT_ALPN, "1.3")
    assert (report.verify_error, report.error, report.refused) == (None, None, False)
    assert (seen.server_name, seen.transport_header) == ("server.test", header)
    (name,) = (
        seen.certificates[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    assert name.value == "client.test"
    assert [attempt.protocol for attempt in helper.ledger().attempts] == [version]


@pytest.mark.parametrize("request_", [h1, h2])
def test_a_request_may_have_a_body(
    helper: Helper, server_identity: Identity, request_: type
) -> None:
    """The probe's request body arrives, on either protocol."""
    with helper.tls_server(server_identity.cert_pem, server_identity.key_pem) as server:
        send = request_("a", method="POST", body=b"hello", headers=[("x-meshmark", "echo=1")])
        report = helper.tls_probe(TlsProbe(f"127.0.0.1:{server.port}", "a.test", send=send))

    assert (report.status, report.received_start) == (200, b"hello")


def test_an_honest_verdict_is_reported_beside_what_happened(
    helper: Helper, server_identity: Identity
) -> None:
    """A foreign root or another name is told, and the probe goes on all the same."""
    foreign = trustme.CA().cert_pem.bytes().decode()
    with helper.tls_server(server_identity.cert_pem, server_identity.key_pem) as server:
        address = f"127.0.0.1:{server.port}"
        first = helper.tls_probe(
            TlsProbe(address, "server.test", roots_pem=foreign, send=h1("server.test"))
        )
        second = helper.tls_probe(
            TlsProbe(address, "b.test", roots_pem=server_identity.ca_pem, send=h1("b.test"))
        )

    assert (first.status, second.status) == (200, 200)
    assert "UnknownIssuer" in (first.verify_error or "")
    assert "b.test" in (second.verify_error or "")


def test_without_a_common_protocol_the_alert_is_named(
    helper: Helper, server_identity: Identity
) -> None:
    """The server's alert is reported by the name that RFC 8446 gives it."""
    with helper.tls_server(
        server_identity.cert_pem, server_identity.key_pem, alpn=["h2"], versions=["1.3"]
    ) as server:
        address = f"127.0.0.1:{server.port}"
        no_protocol = helper.tls_probe(TlsProbe(address, "a.test", alpn=["other"]))
        no_version = helper.tls_probe(TlsProbe(address, "a.test", versions=["1.2"]))

    assert (no_protocol.alert, no_protocol.end) == ("no_application_protocol", "alert")
    assert no_version.alert == "protocol_version"
    assert no_protocol.refused
    assert not no_version.handshake


def test_sessions_are_resumed_by_name(helper: Helper, server_identity: Identity) -> None:
    """Tickets are counted, and a later probe of the same session offers one."""
    with helper.tls_server(server_identity.cert_pem, server_identity.key_pem) as server:
        probe = TlsProbe(
            f"127.0.0.1:{server.port}", "server.test", session="s", send=h1("server.test")
        )
        first, second = helper.tls_probe(probe), helper.tls_probe(probe)

    assert (first.resumed, first.tickets > 0) == (False, True)
    assert (second.resumed, second.status) == (True, 200)


def test_a_server_that_says_nothing_gets_bytes_and_plaintext_is_told_apart(
    helper: Helper, server_identity: Identity
) -> None:
    """A silent server counts application bytes; a client without TLS shows in the first bytes."""
    with helper.tls_server(server_identity.cert_pem, server_identity.key_pem, http=False) as server:
        address = f"127.0.0.1:{server.port}"
        helper.tls_probe(
            TlsProbe(address, "a.test", send=RawBytes(b"secret".hex()), deadline_s=0.2)
        )
        helper.raw(address, b"GET / HTTP/1.1\r\n\r\n", deadline_s=0.5)
    first, second = server.stop().connections

    assert (first.is_tls, first.received_bytes) == (True, 6)
    assert bytes.fromhex(first.received_hex) == b"secret"
    assert (second.is_tls, second.handshake) == (False, False)
    assert bytes.fromhex(second.start_hex).startswith(b"GET /")


def test_a_key_that_does_not_fit_is_shown_all_the_same(
    helper: Helper, server_identity: Identity, client_identity: Identity
) -> None:
    """The probe presents what it is given; mistakes in the order itself are named."""
    with helper.tls_server(server_identity.cert_pem, server_identity.key_pem) as server:
        address = f"127.0.0.1:{server.port}"
        report = helper.tls_probe(
            TlsProbe(
                address,
                "server.test",
                cert_pem=client_identity.cert_pem,
                key_pem=server_identity.key_pem,
                send=h1("server.test"),
            )
        )
        with pytest.raises(UsageError, match="cert_pem"):
            helper.tls_probe(TlsProbe(address, cert_pem="nothing", key_pem="nothing"))
    (seen, *_) = server.stop().connections

    assert report.handshake
    assert seen.certificates


def test_raw_bytes_tell_how_the_peer_ended(
    server: Running, workload: Workload, helper: Helper
) -> None:
    """An answer and an end, a reset, and a peer that waits are three different outcomes."""
    address = f"127.0.0.1:{server.ports['http']}"
    answered = helper.raw(address, b"GET / HT", (0.05, b"TP/1.0\r\n\r\n"))
    silent = helper.raw(address, deadline_s=0.1)
    reset = helper.raw(address, b"GET / HTTP/1.1\r\nx-meshmark: reset=request\r\n\r\n")

    assert answered.body_head.startswith("HTTP/1.0 200")
    assert (answered.end, answered.error) == ("fin", None)
    assert silent.error is not None
    assert silent.error.kind == "timeout"
    assert reset.end == "reset"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    with process:
        yield process
        process.kill()


def test_signals_reach_one_process(helper: Helper, sleeper: subprocess.Popen[bytes]) -> None:
    """A process is found by number, stopped, continued and killed."""

    def state() -> str:
        return next(each.state for each in helper.processes() if each.pid == sleeper.pid)

    helper.signal("STOP", pid=sleeper.pid)
    assert state() == "T"
    helper.signal("CONT", pid=sleeper.pid)
    assert state() == "S"
    assert helper.signal("KILL", pid=sleeper.pid) == [sleeper.pid]
    assert sleeper.wait(timeout=5) == -9


def test_a_process_that_is_not_there_is_named(helper: Helper) -> None:
    """Asking for an unknown program says so, with the likely cause."""
    with pytest.raises(UsageError, match="no-such-program"):
        helper.signal("TERM", name="no-such-program")
    with pytest.raises(ClusterError, match="no-such-program"):
        helper.process("no-such-program")


def test_admin_pages_are_fetched_whole(server: Running, helper: Helper) -> None:
    """A page longer than one read arrives complete, with its status and fields."""
    page = helper.fetch(server.url(path="/metrics"))

    assert (page.status, page.body_head) == (200, "pod-1\n")
    assert page.header("x-meshmark-pod") == "pod-1"
