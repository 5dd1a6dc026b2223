"""Certificates that are renewed, anchors and issuers that are replaced, an issuer that is away."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from harness.errors import NotInTime
from harness.mesh import resources
from harness.plugin import check
from harness.waiting import until
from harness.workload.plans import Messages, Plan
from suites.conformance import rogues
from suites.conformance.continuity import Continuous, continuous
from suites.conformance.disruption import LINGER, issuer_down, restart_control_plane, roll
from suites.conftest import SHORT_LEAF_LIFETIME_S

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

LIFETIMES = 3
LATEST_SHARE = 0.75
"""Of a certificate's life; what is asked for later leaves no time for a second try."""

ISSUED_S = 2.0
"""In which a busy control plane issues one: a tenth of the lives here, nothing of a day's."""

_RECOVERED_S = 40.0
_OUTAGE_S = 4.0
_OVERLAP_S = 2.0
_ISSUER_S = 0.8 * SHORT_LEAF_LIFETIME_S
"""Life of an issuer to wait for: long enough that every certificate is renewed once under it."""

_MARGIN = dt.timedelta(seconds=2)
"""Certificates end with a whole second, and clocks differ a little."""

_LASTING_S = 365 * 86_400.0


@check("ID-03")
def test_certificates_are_renewed_in_time(check: Check, world: World) -> None:
    """Over some lives of a certificate, each is replaced in time and no request is lost."""
    seen: dict[str, list[_Shown]] = {}
    members = {"client": world.client, "server": world.server}

    def look() -> float:
        """Seconds of life that renewals have added, to the one that has the fewest."""
        for name, member in members.items():
            leaf, now = _leaf(world.outsider, member), dt.datetime.now(dt.UTC)
            valid = leaf.not_valid_after_utc > now
            ended = f"{leaf.not_valid_after_utc:%H:%M:%S}"
            check.expect(
                valid, f"certificate of the {name}", expected="valid", seen=f"over {ended}"
            )
            known = seen.setdefault(name, [])
            if not known or known[-1].leaf.serial_number != leaf.serial_number:
                known.append(_Shown(leaf, first=now, last=now))
            known[-1].last = now
        return min(_added_s(known) for known in seen.values())

    with continuous(check, world.client, world.server):
        until(
            look,
            what=f"certificates renewed over {LIFETIMES} lives",
            holds=lambda added_s: added_s >= LIFETIMES * SHORT_LEAF_LIFETIME_S,
            timeout_s=(LIFETIMES + 2) * SHORT_LEAF_LIFETIME_S,
            interval_s=0.2,
        )
    with check.phase("reconcile"):
        shares = [share for known in seen.values() for share in _renewed_at(known)]
        check.measured(max(shares), "of life at the latest renewal", n=len(shares))
        latest = LATEST_SHARE + ISSUED_S / SHORT_LEAF_LIFETIME_S
        check.expect(
            max(shares) <= latest,
            "share of a certificate's life after which it is renewed",
            expected=f"at most {LATEST_SHARE}, and {ISSUED_S} s to issue it: {latest:.2f}",
            seen=[round(share, 3) for share in shares],
        )


@check("ID-04", last=True)
def test_anchor_is_replaced_without_interruption(check: Check, lab: Lab, world: World) -> None:
    """Both anchors, then the new issuer, then the new anchor alone: no request fails meanwhile."""
    issuer = lab.mesh.issuer()
    with lab.space("id-04") as space, contextlib.ExitStack() as restoring:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=2, arguments=LINGER, wait=False)
            caller = space.deploy("client-0")
            server.ready()
        restoring.callback(_restore, check, lab, world)
        traffic: list[Continuous] = []
        with contextlib.ExitStack() as stack:
            running = stack.enter_context(contextlib.ExitStack())
            traffic.append(running.enter_context(continuous(check, caller, server)))
            for number, step in enumerate(issuer.rotation(), start=1):
                check.evidence(f"step {number}", step.what)
                resources.apply(lab.cluster.client(), step.resources)
                if step.restart:
                    restart_control_plane(lab)
                    roll(server)
                    caller = space.deploy(f"client-{number}")
                    later = stack.enter_context(contextlib.ExitStack())
                    traffic.append(later.enter_context(continuous(check, caller, server)))
                    traffic[-1].last(_OVERLAP_S)
                    running.close()
                    running = later
                if step.reissue:
                    for member in (caller, server):
                        _until_issued(world.outsider, member)
        calls = [kind.stop().summary.calls for each in traffic for kind in each.running]
        check.measured(0, "failed", n=sum(calls))


@check("ID-05", last=True)
def test_expired_issuer_fails_closed(check: Check, lab: Lab, world: World) -> None:
    """With an issuer that is over nobody connects any more; with a new one everybody does."""
    issuer, client = lab.mesh.issuer(), lab.cluster.client()
    with lab.space("id-05") as space:
        with check.phase("arrange"):
            members = [space.deploy(name, wait=False) for name in ("client", "server", "other")]
            caller, server, other = (member.ready() for member in members)
        with check.phase("control"):
            outcome = caller.app.one(Plan(url=other.url()))
            check.control(outcome.ok, "members call each other", seen=outcome)
        try:
            with check.phase("apply"):
                resources.apply(client, issuer.replaced(_ISSUER_S))
            with check.phase("converge"):
                for member in (caller, server):
                    _until_over(world.outsider, member)
            with check.phase("measure"):
                plan = Plan(url=server.url(), id=check.id, count=50, concurrency=10)
                accepted = [outcome for outcome in caller.app.call(plan) if outcome.ok]
                check.equal(len(accepted), 0, "requests answered with certificates that are over")
                arrived = server.app.settled().attempts
                check.equal(len(arrived), 0, "requests that reached the application")
        finally:
            with check.phase("converge"):
                resources.apply(client, issuer.replaced(_LASTING_S))
                started = dt.datetime.now(dt.UTC)
                _until_called(check, caller, server)
                took_s = (dt.datetime.now(dt.UTC) - started).total_seconds()
                _until_called(check, world.client, world.server)
        check.measured(took_s, "s until requests pass again")


@check("TLS-17", last=True)
def test_nothing_goes_out_in_plaintext(check: Check, lab: Lab, world: World) -> None:
    """A sidecar that can get no certificate lets nothing pass, and passes it again when it can."""
    word = check.random.randbytes(16).hex()
    plan = Plan(
        url=world.server.url("/meshmark.Words/Say"),
        protocol="grpc",
        messages=Messages(payload_hex=word.encode().hex()),
        count=5,
        concurrency=5,
        deadline_s=1.0,
    )
    with lab.space("tls-17") as space:
        with check.phase("arrange"):
            client = space.deploy("client", helper=True)
        with check.phase("control"):
            with world.server.helper.capture([word.encode()]) as capture:
                naked = world.outsider.app.call(plan)
            assert capture.result is not None
            seen = capture.result.matches[0]
            check.control(seen >= len(naked), "the capture sees the word in plain text", seen=seen)
            sent = client.app.one(Plan(url=world.server.url()))
            check.control(sent.ok, "the client is a member", seen=sent)
        with issuer_down(lab):
            with check.phase("apply"):
                assert lab.mesh.sidecar is not None
                before = client.helper.process(lab.mesh.sidecar.process)
                client.helper.signal("KILL", name=before.name)
                client.helper.wait_restarted(before)
            with check.phase("measure"):
                tried = msgspec.structs.replace(plan, count=None, duration_s=_OUTAGE_S)
                with world.server.helper.capture([word.encode()]) as capture:
                    outcomes = client.app.call(tried)
                found = capture.result
                assert found is not None
                check.control(found.is_complete, "every packet was seen", seen=found.error)
                passed = [outcome for outcome in outcomes if outcome.ok]
                check.measured(found.matches[0], "packets with the word", n=len(outcomes))
                check.equal(found.matches[0], 0, "packets that carry the word in the clear")
                check.equal(len(passed), 0, "requests answered without a certificate")
        with check.phase("converge"):
            _until_called(check, client, world.server)


def _leaf(prober: Member, member: Member) -> Certificate:
    """The certificate that a member shows to its peers."""
    return rogues.shown_chain(prober.helper, member)[0]


@dataclasses.dataclass
class _Shown:
    """A certificate, and when it was first and last seen."""

    leaf: Certificate
    first: dt.datetime
    last: dt.datetime


def _added_s(known: list[_Shown]) -> float:
    end, first = known[-1].leaf.not_valid_after_utc, known[0].leaf.not_valid_after_utc
    return (end - first).total_seconds()


def _renewed_at(known: list[_Shown]) -> list[float]:
    """
    After which share of its life, at least, each certificate was renewed whose start was seen.

    It was still shown at its last sight, and can have begun no later than at its first.
    """
    return [
        (shown.last - shown.first) / (shown.leaf.not_valid_after_utc - shown.first)
        for shown in known[1:-1]
    ]


def _until_issued(prober: Member, member: Member) -> None:
    """Wait until all pods of a member show certificates of the mesh's present anchor."""

    def doubts() -> dict[str, str | None]:
        addresses = [(pod.status.podIP if pod.status else None) or "" for pod in member.pods()]
        probes = {at: rogues.at_ingress(member, None, address=at) for at in addresses}
        return {at: prober.helper.tls_probe(probe).verify_error for at, probe in probes.items()}

    until(
        doubts,
        what=f"certificates of {member.role.name} lead to the new anchor",
        holds=lambda found: not any(found.values()),
        timeout_s=2 * SHORT_LEAF_LIFETIME_S,
        interval_s=0.5,
    )


def _until_over(prober: Member, member: Member) -> None:
    until(
        lambda: _leaf(prober, member).not_valid_after_utc,
        what=f"the certificate of {member.role.name} is over",
        holds=lambda end: end < dt.datetime.now(dt.UTC) - _MARGIN,
        timeout_s=3 * SHORT_LEAF_LIFETIME_S,
        interval_s=0.5,
    )


def _until_called(check: Check, caller: Member, server: Member) -> None:
    try:
        until(
            lambda: caller.app.one(Plan(url=server.url())).ok,
            what=f"{caller.role.name} calls {server.role.name} again",
            timeout_s=_RECOVERED_S,
            interval_s=0.5,
        )
    except NotInTime:
        for member in (caller, server):
            check.evidence(f"sidecar log of {member.role.name}", member.sidecar_log())
        raise


def _restore(check: Check, lab: Lab, world: World) -> None:
    """Put anchor and issuer back, for the pods that know only them."""
    with check.phase("tear down"):
        resources.apply(lab.cluster.client(), lab.mesh.issuer().original())
        restart_control_plane(lab)
        _until_called(check, world.client, world.server)
