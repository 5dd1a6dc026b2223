"""Peers with the wrong certificate, the wrong name or none are refused, on both sides."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from harness.mesh.intents import Authorize, Source, Target, TlsMode, TlsPolicy
from harness.mesh.protocol import Enrolment, Root
from harness.plugin import check
from harness.stats.shares import upper_bound_of_zero
from harness.waiting import until
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT
from suites.conformance import asking, rogues
from suites.conformance.disruption import roll, second_anchor

if TYPE_CHECKING:
    from lightkube.resources.core_v1 import Pod

    from harness.mesh.protocol import Certificate
    from harness.plugin import Check
    from harness.workload.rogue import TlsProbe
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

FOREIGN_DOMAIN = "other.example"
REFUSALS = 100


@check("TLS-07")
def test_client_without_certificate(check: Check, lab: Lab, world: World) -> None:
    """TLS alone makes nobody a member: a client that shows no certificate is refused."""
    helper = world.outsider.helper
    with lab.space("tls-07") as space:
        with check.phase("arrange"):
            server = space.deploy("server")
        with check.phase("apply"):
            target = Target(namespace=space.name, labels=server.role.selector, port=HTTP_PORT)
            space.apply(TlsPolicy(name="strict", target=target, mode=TlsMode.STRICT))
        with check.phase("converge"):
            rogues.until_refused(world.outsider, server)
        with check.phase("control"):
            certificate = rogues.forged(world.client)
            rogues.accepts(check, helper, rogues.at_ingress(server, certificate), "a member")
            rogues.accepts(check, helper, rogues.at_application(server, certificate), "a member")
        with check.phase("measure"):
            for probe, where in (
                (rogues.at_ingress(server, None), "the sidecar's port"),
                (rogues.at_application(server, None), "the application's port"),
            ):
                what = f"a client without a certificate at {where}"
                rogues.refuses(check, helper, server, probe, n=100, what=what)


@check("TLS-08")
def test_server_with_another_name(check: Check, lab: Lab, world: World) -> None:
    """A server with a valid certificate of somebody else gets no request."""
    with lab.space("tls-08") as space:
        with check.phase("arrange"):
            impostor = space.deploy("impostor", impostor=True, helper=True)
        with check.phase("measure"):
            certificate = rogues.forged(world.server)
            what = "a server with another's name"
            rogues.refuses_server(check, world.client, impostor, certificate, n=100, what=what)


@check("TLS-09")
def test_certificate_out_of_its_time(check: Check, lab: Lab, world: World) -> None:
    """A certificate before or after its time is refused by servers and by clients."""
    with lab.space("tls-09") as space:
        with check.phase("arrange"):
            impostor = space.deploy("impostor", impostor=True, helper=True)
        with check.phase("control"):
            probe = rogues.at_ingress(world.server, rogues.forged(world.client))
            rogues.accepts(check, world.outsider.helper, probe, "a certificate of today")
        with check.phase("measure"):
            for validity, when in ((rogues.EXPIRED, "expired"), (rogues.NOT_YET, "not yet valid")):
                certificate = rogues.forged(world.client, validity)
                probe = rogues.at_ingress(world.server, certificate)
                rogues.refuses(
                    check, world.outsider.helper, world.server, probe, n=50, what=f"client, {when}"
                )
                certificate = rogues.forged(impostor, validity)
                rogues.refuses_server(
                    check, world.client, impostor, certificate, n=50, what=f"server, {when}"
                )


@check("TLS-10")
def test_foreign_root_and_domain(check: Check, lab: Lab, world: World) -> None:
    """The right name under a foreign root is refused, and a foreign name under the right root."""
    helper = world.outsider.helper
    with lab.space("tls-10") as space:
        with check.phase("arrange"):
            impostor = space.deploy("impostor", impostor=True, helper=True, wait=False)
            server = space.deploy("server", wait=False)
            impostor.ready()
            server.ready()
        with check.phase("apply"):
            target = Target(namespace=space.name, labels=server.role.selector, port=HTTP_PORT)
            source = Source(service_account=(world.space.name, world.client.role.account))
            space.apply(Authorize(name="one", target=target, sources=(source,)))
        with check.phase("converge"):
            rogues.until_refused(world.outsider, server)
        with check.phase("control"):
            probe = rogues.at_ingress(server, rogues.forged(world.client))
            rogues.accepts(check, helper, probe, "the client that may")
        with check.phase("measure"):
            certificate = rogues.forged(world.client, root=Root.FOREIGN)
            probe = rogues.at_ingress(server, certificate)
            rogues.refuses(check, helper, server, probe, n=50, what="client of a foreign root")
            certificate = rogues.forged(impostor, root=Root.FOREIGN)
            rogues.refuses_server(
                check, world.client, impostor, certificate, n=50, what="server of a foreign root"
            )
            certificate = rogues.forged(world.client, trust_domain=FOREIGN_DOMAIN)
            probe = rogues.at_ingress(server, certificate)
            rogues.refuses(check, helper, server, probe, n=50, what="client of a foreign domain")
            certificate = rogues.forged(impostor, trust_domain=FOREIGN_DOMAIN)
            rogues.refuses_server(
                check, world.client, impostor, certificate, n=50, what="server of a foreign domain"
            )


@check("TLS-12")
def test_protocol_is_not_downgraded(check: Check, lab: Lab, world: World) -> None:
    """Between sidecars the agreed protocol is used, and HTTP/2 stays HTTP/2."""
    mesh = lab.mesh
    with lab.space("tls-12") as space:
        with check.phase("arrange"):
            impostor = space.deploy("impostor", impostor=True, helper=True)
        point = mesh.ingress_point(space.name, impostor.role.account, HTTP_PORT)
        with check.phase("measure"):
            with rogues.posing(impostor, rogues.forged(impostor)) as peer:
                asked = {
                    "HTTP/2.0": Plan(url=impostor.url(), id=f"{check.id}-h2", protocol="h2"),
                    "HTTP/1.1": Plan(url=impostor.url(), id=f"{check.id}-h1"),
                }
                outcomes = {version: world.client.app.one(p) for version, p in asked.items()}
            assert peer.result is not None
            check.equal({o.status for o in outcomes.values()}, {200}, "statuses")
            offered = {tuple(c.alpn_offered) for c in peer.result.connections}
            check.equal(offered, {point.alpn}, "ALPN that the client's sidecar offers")
            report = world.outsider.helper.tls_probe(
                rogues.at_ingress(world.server, rogues.forged(world.client))
            )
            check.equal(report.alpn, point.alpn[0], "ALPN that the server's sidecar chooses")
        with check.phase("reconcile"):
            arrived = {a.id: a.protocol for a in impostor.helper.settled().attempts}
            told = {version: outcome.version for version, outcome in outcomes.items()}
            check.equal(told, {version: version for version in told}, "versions told to the client")
            carried = {version: arrived.get(outcome.id) for version, outcome in outcomes.items()}
            for_http1 = "HTTP/2.0" if point.http1_as_http2 else "HTTP/1.1"
            expected = {"HTTP/2.0": "HTTP/2.0", "HTTP/1.1": for_http1}
            check.equal(carried, expected, "versions between the sidecars")


@check("TLS-15")
def test_resumption_proves_nothing_anew(check: Check, world: World) -> None:
    """A ticket does not outlive the certificate that it was given for."""
    with check.phase("arrange"):
        certificate = rogues.forged(world.client, rogues.ending_in(_SHORT_S))
        session = _Session(check, world.outsider, world.server, certificate)
    session.begin("a certificate of today")
    session.until_over("the certificate is over", within_s=_SHORT_S + 10.0)
    session.refused("an expired certificate")


@check("TLS-15", last=True)
def test_resumption_outlives_no_anchor(check: Check, lab: Lab, world: World) -> None:
    """
    A ticket does not outlive the trust in the anchor that its certificate is under.

    The anchor is removed, not let expire: its dates are no part of path validation (RFC 5280
    section 6.1), so a mesh may go by them or not. What expires is therefore a leaf, above.
    """
    with lab.space("tls-15") as space, contextlib.ExitStack() as trusted:
        with check.phase("apply"):
            trusted.enter_context(second_anchor(lab))
        with check.phase("arrange"):
            server = space.deploy("server", replicas=1)
            certificate = rogues.forged(world.client, root=Root.SECOND)
            session = _Session(check, world.outsider, server, certificate)
        session.begin("a certificate under the second anchor")
        with check.phase("apply"):
            trusted.close()
            roll(server)
        session.until_over("its anchor is removed", within_s=_REMOVED_S)
        session.refused("a certificate under a removed anchor")


@check("TLS-16")
def test_control_plane_and_sidecars_prove_themselves(check: Check, lab: Lab, world: World) -> None:
    """A sidecar takes no certificate from a foreign mesh, and the issuer gives none to anybody."""
    issuer = lab.mesh.issuer()
    with lab.space("tls-16") as space:
        with check.phase("arrange"):
            stray = space.deploy("stray", enrolment=Enrolment(root=Root.FOREIGN), wait=False)
            twin = space.deploy("twin")
        with check.phase("control"):
            issued = issuer.issued(lab.cluster, twin.identity)
            check.control(issued > 0, "a pod with the mesh's anchor is certified", seen=issued)
        with check.phase("measure"):
            plan = Plan(url=stray.url(), duration_s=_STRAY_S, rate_rps=20.0, concurrency=20)
            answered = [outcome for outcome in world.client.app.call(plan) if outcome.ok]
            check.equal(len(answered), 0, "answers of a pod with a foreign anchor")
            ready = [pod for pod in stray.pods() if _is_ready(pod)]
            check.equal(len(ready), 0, "pods with a foreign anchor that are ready")
            issued = issuer.issued(lab.cluster, stray.identity)
            check.equal(issued, 0, "certificates issued to the pod with a foreign anchor")
            call = issuer.certify(twin.identity, asking.token(world.client))
            outcomes = asking.ask(world.outsider.app, call, count=REFUSALS)
            accepted = sum(outcome.ok for outcome in outcomes)
            bound = REFUSALS * upper_bound_of_zero(REFUSALS)
            check.measured(accepted, "accepted", interval=(0.0, bound), n=REFUSALS)
            check.equal(accepted, 0, "certificates issued for the token of another")


class _Session:
    """A rogue client that has a certificate, and the tickets that a server gave it for that."""

    def __init__(
        self, check: Check, client: Member, server: Member, certificate: Certificate
    ) -> None:
        self._check, self._server, self._certificate = check, server, certificate
        self._helper = client.helper
        self._name = f"{check.id}-{server.host}-{check.seed}"
        self._tickets = 0

    def _probe(self) -> TlsProbe:
        return rogues.at_ingress(self._server, self._certificate, session=self._name)

    def begin(self, what: str) -> None:
        """Control that the certificate is accepted, and again with what tickets there are."""
        with self._check.phase("control"):
            first = rogues.accepts(self._check, self._helper, self._probe(), what)
            again = rogues.accepts(self._check, self._helper, self._probe(), f"{what}, again")
            told = f"{first.tickets} received; resumed: {again.resumed}"
            self._check.evidence(f"tickets for {what}", told)
            self._tickets = first.tickets

    def until_over(self, why: str, *, within_s: float) -> None:
        """Wait until the certificate is refused in a full handshake."""
        with self._check.phase("converge"):
            until(
                lambda: (
                    self._helper.tls_probe(
                        rogues.at_ingress(self._server, self._certificate)
                    ).status
                ),
                what=f"a full handshake is refused, since {why}",
                holds=lambda status: status is None,
                timeout_s=within_s,
                interval_s=0.5,
            )

    def refused(self, what: str) -> None:
        """Try with the tickets; nothing may reach the application."""
        how = f"{what}, {'with a ticket' if self._tickets else 'no ticket is given'}"
        with self._check.phase("measure"):
            rogues.refuses(self._check, self._helper, self._server, self._probe(), n=50, what=how)


_STRAY_S = 5.0
"""Many times what a sidecar needs to be certified."""

_REMOVED_S = 10.0
"""Within this time of a rollout the removed anchor counts no more."""

_SHORT_S = 6.0
"""Life of the certificate that a ticket is given for: enough to connect, no more."""


def _is_ready(pod: Pod) -> bool:
    conditions = (pod.status.conditions if pod.status else None) or []
    return any(each.type == "Ready" and each.status == "True" for each in conditions)
