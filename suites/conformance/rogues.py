"""
Peers that no honest issuer would certify: a client outside the mesh, a server posing as a member.

Both hold what `Mesh.forge` made, and each refusal is counted with what reached the application.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from harness.errors import MeshError
from harness.mesh.protocol import Certificate, Root, Validity
from harness.stats.shares import upper_bound_of_zero
from harness.waiting import until
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT
from harness.workload.rogue import TlsProbe, TransportHeader, h1

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography import x509

    from harness.plugin import Check
    from harness.workload.helper import Helper, RogueServer
    from harness.workload.rogue import TlsReport
    from suites.member import Member

__all__ = [
    "EXPIRED",
    "NOT_YET",
    "accepts",
    "at_application",
    "at_ingress",
    "ending_in",
    "forged",
    "posing",
    "refuses",
    "refuses_server",
    "shown_chain",
    "until_refused",
]

EXPIRED = Validity(-7200.0, -60.0)
"""Over for a minute: more than clocks differ."""

NOT_YET = Validity(600.0, 7200.0)
"""Begins in ten minutes."""

_CALLERS = 20
_RECOVERED_S = 20.0
_REFUSED_S = 15.0


def ending_in(seconds: float) -> Validity:
    """Valid now, and over in so many seconds."""
    return Validity(-60.0, seconds)


def forged(
    member: Member,
    validity: Validity | None = None,
    *,
    root: Root = Root.MESH,
    trust_domain: str | None = None,
) -> Certificate:
    """A certificate with the name of a member, made behind its issuer's back."""
    mesh = member.space.lab.mesh
    name = mesh.identity(member.space.name, member.role.account, trust_domain=trust_domain)
    return mesh.forge(name, validity or Validity(), root)


def at_ingress(
    server: Member,
    certificate: Certificate | None,
    *,
    address: str | None = None,
    session: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> TlsProbe:
    """
    A request to a member by the way that peers of the mesh take.

    address: that of one pod; None is the first.
    """
    point = server.space.lab.mesh.ingress_point(server.space.name, server.role.account, HTTP_PORT)
    port = point.transport_header_port
    return TlsProbe(
        address=f"{address or server.address()}:{point.port}",
        server_name=point.sni,
        alpn=point.alpn,
        cert_pem=certificate.chain_pem if certificate else None,
        key_pem=certificate.key_pem if certificate else None,
        roots_pem=server.space.lab.mesh.issuer().trust_anchors(),
        session=session,
        transport_header=TransportHeader(port, session_protocol="http1") if port else None,
        send=h1(f"{server.host}:{HTTP_PORT}", headers=headers),
    )


def at_application(server: Member, certificate: Certificate | None) -> TlsProbe:
    """A request by mesh TLS to the application's own port."""
    point = server.space.lab.mesh.ingress_point(server.space.name, server.role.account, HTTP_PORT)
    return TlsProbe(
        address=f"{server.address()}:{HTTP_PORT}",
        server_name=point.sni,
        cert_pem=certificate.chain_pem if certificate else None,
        key_pem=certificate.key_pem if certificate else None,
        send=h1(f"{server.host}:{HTTP_PORT}"),
    )


def shown_chain(
    helper: Helper, member: Member, *, address: str | None = None
) -> list[x509.Certificate]:
    """
    The certificates that a member shows to its peers, leaf first.

    Raises:
        MeshError: it shows none.

    """
    report = helper.tls_probe(at_ingress(member, None, address=address))
    if not report.certificates:
        raise MeshError(f"{member.role.name} shows no certificate: {report.error} {report.message}")
    return report.certificates


def accepts(check: Check, helper: Helper, probe: TlsProbe, what: str) -> TlsReport:
    """Control that a probe is answered by the application, and give its report."""
    report = helper.tls_probe(probe)
    check.control(report.status == 200, f"{what} is accepted", seen=report)
    return report


def refuses(
    check: Check, helper: Helper, server: Member, probe: TlsProbe, *, n: int, what: str
) -> list[TlsReport]:
    """Try `n` times; nothing may be answered by, nor arrive at, the application."""
    since = server.app.summary().last
    reports = [helper.tls_probe(probe) for _ in range(n)]
    check.control(all(report.connected for report in reports), f"{what} is tried", seen=reports[0])
    accepted = [report for report in reports if report.status == 200]
    arrived = server.app.settled(since).attempts
    check.measured(len(accepted), "accepted", interval=(0.0, n * upper_bound_of_zero(n)), n=n)
    told = {f"{report.status or report.alert or report.error}" for report in reports}
    check.evidence(f"refusals of {what}", sorted(told))
    check.equal(len(accepted), 0, f"requests accepted: {what}")
    check.equal(len(arrived), 0, f"requests that reached the application: {what}")
    return reports


@contextlib.contextmanager
def posing(
    impostor: Member, certificate: Certificate, *, http: bool = True
) -> Iterator[RogueServer]:
    """A server that poses as a member of the mesh, with this certificate."""
    mesh = impostor.space.lab.mesh
    point = mesh.ingress_point(impostor.space.name, impostor.role.account, HTTP_PORT)
    with impostor.helper.tls_server(
        certificate.chain_pem,
        certificate.key_pem,
        port=point.port,
        alpn=point.alpn,
        http=http,
    ) as server:
        yield server


def refuses_server(
    check: Check, client: Member, impostor: Member, certificate: Certificate, *, n: int, what: str
) -> None:
    """
    Call `n` times; the impostor may get no request, neither by TLS nor without.

    Control: it is called when its certificate is right; that also ends what the client's sidecar
    remembers of an earlier refusal.
    """
    with check.phase("control"), posing(impostor, forged(impostor)):
        until(
            lambda: client.app.one(Plan(url=impostor.url(), id=f"{check.id}-control")),
            what="a server with the right certificate is called",
            holds=lambda outcome: outcome.ok,
            timeout_s=_RECOVERED_S,
        )
    impostor.app.reset()
    impostor.helper.reset()
    plan = Plan(url=impostor.url(), id=f"{check.id}-{what}", count=n, concurrency=_CALLERS)
    with posing(impostor, certificate) as server:
        outcomes = client.app.call(plan)
    assert server.result is not None
    accepted = [outcome for outcome in outcomes if outcome.ok]
    arrived = [*impostor.app.settled().attempts, *impostor.helper.settled().attempts]
    check.measured(len(accepted), "accepted", interval=(0.0, n * upper_bound_of_zero(n)), n=n)
    alerts = {str(connection.alert) for connection in server.result.connections}
    check.evidence(f"what the client's sidecar said to {what}", sorted(alerts))
    check.equal(len(accepted), 0, f"requests answered: {what}")
    check.equal(len(arrived), 0, f"requests that reached the impostor: {what}")
    check.control(server.result.accepted > 0, f"the impostor was tried: {what}")


def until_refused(caller: Member, server: Member) -> None:
    """Wait until a policy that was applied has `server` refuse `caller`, in whatever way."""
    until(
        lambda: caller.app.one(Plan(url=server.url())),
        what=f"{server.role.name} refuses {caller.role.name}",
        holds=lambda outcome: not outcome.ok,
        timeout_s=_REFUSED_S,
        hint="The policy was applied; the sidecar of the server still accepts.",
    )
