"""Who a workload is: issued, told, renewed, and refused to everybody else."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from lightkube.resources.core_v1 import Pod

from harness.mesh.issuance import Request
from harness.plugin import check
from harness.stats.shares import upper_bound_of_zero
from harness.waiting import until
from harness.workload.plans import Plan
from suites.conformance import asking, rogues
from suites.conformance.addresses import deploy_at

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab, Space
    from suites.member import Member

REFUSALS = 50


@check("ID-01")
def test_each_workload_has_its_own_certificate(check: Check, lab: Lab, world: World) -> None:
    """One name, that of the service account; no right to issue; a key that nobody shares."""
    with check.phase("measure"):
        leaves = [_leaf(check, world.outsider, member) for member in (world.client, world.server)]
        keys = {leaf.public_key().public_numbers() for leaf in leaves}  # type: ignore[union-attr]
        check.equal(len(keys), 2, "keys of two workloads")


@check("ID-06")
def test_only_the_right_token_gets_a_certificate(check: Check, lab: Lab, world: World) -> None:
    """Asked with a proper token, the issuer answers; with any other, or for another, it refuses."""
    issuer, account = lab.mesh.issuer(), world.server
    identity, proper = account.identity, asking.token(account)
    caller = world.outsider.app
    with check.phase("control"):
        for asker in (world.outsider.app, world.client.app):
            (outcome,) = asking.ask(asker, issuer.certify(identity, proper))
            check.control(outcome.ok, "a proper request is answered", seen=outcome)
    header, claims, signature = proper.split(".")
    wrong = {
        "no token": ("", Request.PROPER),
        "a token that is none": ("no.such.token", Request.PROPER),
        "a token with another signature": (
            f"{header}.{claims}.{_flipped(signature)}",
            Request.PROPER,
        ),
        "a token for another audience": (asking.token(account, "other.example"), Request.PROPER),
        "a token of another workload": (asking.token(world.client), Request.PROPER),
        "a token of no member": (asking.token(world.outsider), Request.PROPER),
        Request.OTHER_NAME.value: (proper, Request.OTHER_NAME),
        Request.SECOND_NAME.value: (proper, Request.SECOND_NAME),
        Request.OTHER_KEY_TYPE.value: (proper, Request.OTHER_KEY_TYPE),
    }
    with check.phase("measure"):
        before = issuer.issued(lab.cluster, identity)
        check.control(before >= 2, "the issuer tells what it issued", seen=before)
        answered: dict[str, int] = {}
        for what, (token, request) in wrong.items():
            call = issuer.certify(identity, token, request)
            outcomes = asking.ask(caller, call, count=REFUSALS)
            told = {f"grpc {o.grpc_status}: {o.grpc_message}" for o in outcomes}
            check.evidence(what, sorted(told))
            answered[what] = sum(outcome.ok for outcome in outcomes)
        n = REFUSALS * len(wrong)
        accepted = sum(answered.values())
        check.measured(accepted, "issued", interval=(0.0, n * upper_bound_of_zero(n)), n=n)
        check.equal(answered, dict.fromkeys(wrong, 0), "certificates issued")
    with check.phase("reconcile"):
        after = issuer.issued(lab.cluster, identity)
        check.equal(after, before, "certificates issued for the identity by the issuer's own word")


@check("ID-07")
def test_nobody_else_sets_identity_headers(check: Check, lab: Lab, world: World) -> None:
    """What the application is told of its caller comes from the mesh, whatever the caller says."""
    names = lab.mesh.identity_headers
    somebody = lab.mesh.identity("kube-system", "default")
    spoofed = [
        (spelling, somebody) for name in names for spelling in (name, name.upper(), name.title())
    ]
    with check.phase("measure"):
        for caller, expected in ((world.client, (world.client.identity,)), (world.outsider, ())):
            for protocol in ("h1", "h2"):
                headers = [(name.lower(), value) for name, value in spoofed[:2]]
                plan = Plan(
                    url=world.server.url(),
                    protocol=protocol,
                    headers=headers if protocol == "h2" else spoofed,
                    id=f"{check.id}-{caller.role.name}-{protocol}",
                )
                told = _told(check, world.server, caller, plan)
                check.equal(told, expected, f"identity told of {caller.role.name} ({protocol})")
        named = [*spoofed, ("Connection", ", ".join(names))]
        plan = Plan(url=world.server.url(), headers=named, id=f"{check.id}-connection")
        told = _told(check, world.server, world.client, plan)
        check.equal(
            told, (world.client.identity,), "identity told when Connection names its header"
        )
        for header in (spoofed, named):
            since = world.server.app.summary().last
            probe = rogues.at_ingress(world.server, rogues.forged(world.client), headers=header)
            report = world.outsider.helper.tls_probe(probe)
            check.equal(report.status, 200, "status for a peer that brings the header by mesh TLS")
            (attempt,) = world.server.app.settled(since).attempts
            told = world.server.told(attempt)
            check.equal(told, (world.client.identity,), "identity told of that peer")


@check("ID-08")
def test_application_is_told_who_calls(check: Check, lab: Lab, world: World) -> None:
    """Each request carries the identity that its own connection has proven."""
    with lab.space("id-08") as space:
        with check.phase("arrange"):
            other = space.deploy("other")
        callers = {member.role.name: member for member in (world.client, other)}
        with check.phase("measure"):
            since = world.server.app.summary().last
            plans = {
                name: Plan(url=world.server.url(), id=f"{check.id}-{name}", count=50, concurrency=5)
                for name in callers
            }
            running = {name: callers[name].app.start(plan) for name, plan in plans.items()}
            for name, traffic in running.items():
                until(
                    traffic.summary,
                    what=f"calls of {name} ended",
                    holds=lambda summary: not summary.running,
                    timeout_s=30.0,
                )
                check.equal(len(traffic.stop().failed), 0, f"failed calls of {name}")
        with check.phase("reconcile"):
            attempts = world.server.app.settled(since).by_id()
            for name, member in callers.items():
                told = {
                    world.server.told(attempt)
                    for request, found in attempts.items()
                    for attempt in found
                    if request.startswith(f"{check.id}-{name}-")
                }
                check.equal(told, {(member.identity,)}, f"identities told of {name}")
            for member in (world.client, other):
                since = world.server.app.summary().last
                probe = rogues.at_ingress(world.server, rogues.forged(member))
                check.equal(world.outsider.helper.tls_probe(probe).status, 200, "status")
                (attempt,) = world.server.app.settled(since).attempts
                one = world.server.told(attempt)
                check.equal(one, (member.identity,), "identity from one address")


@check("ID-09")
def test_identity_does_not_stick_to_an_address(check: Check, lab: Lab, world: World) -> None:
    """A restarted sidecar keeps its identity; another workload at the same address has its own."""
    assert lab.mesh.sidecar is not None
    with lab.space("id-09") as space:
        with check.phase("arrange"):
            one = space.deploy("one", helper=True)
            address, node = one.address(), one.node()
        with check.phase("measure"):
            check.equal(_told_of(world.server, one), {one.identity}, "identity before")
            before = one.helper.process(lab.mesh.sidecar.process)
            one.helper.signal("KILL", name=before.name)
            one.helper.wait_restarted(before)
            until(
                lambda: one.app.one(Plan(url=world.server.url())).ok, what="calls", timeout_s=30.0
            )
            check.equal(_told_of(world.server, one), {one.identity}, "identity after a restart")
            called = world.client.app.one(Plan(url=one.url()))
            check.control(called.pod == "one", "peers call it by its address", seen=called)
        with check.phase("apply"):
            one.delete()
            until(lambda: not _left(space), what="the pod is gone", timeout_s=60.0)
            two = deploy_at(space, "two", address, node)
            if two.address() != address:
                check.inconclusive(
                    f"the cluster gave {two.address()} to a pod that should get {address}"
                )
        with check.phase("converge"):
            until(
                lambda: world.client.app.one(Plan(url=two.url())).ok, what="calls", timeout_s=30.0
            )
        with check.phase("measure"):
            check.equal(_told_of(world.server, two), {two.identity}, "identity of who came after")
            since = two.app.summary().last
            outcomes = world.client.app.call(Plan(url=one.url(), count=20, concurrency=20))
            check.equal(sum(outcome.ok for outcome in outcomes), 0, "answers for who is gone")
            check.equal(len(two.app.settled(since).attempts), 0, "requests to who came after")
            outcomes = world.client.app.call(Plan(url=two.url(), count=50, concurrency=5))
            check.equal({outcome.pod for outcome in outcomes}, {"two"}, "who answers")


def _left(space: Space) -> list[str]:
    """Pods of a space, those included that are going away."""
    found = space.lab.cluster.client().list(Pod, namespace=space.name)
    return [pod.metadata.name or "" for pod in found if pod.metadata]


def _told_of(server: Member, caller: Member) -> set[str]:
    """By which names the application knows 50 requests of one caller."""
    since = server.app.summary().last
    caller.app.call(Plan(url=server.url(), count=50, concurrency=5))
    return {name for each in server.app.settled(since).attempts for name in server.told(each)}


def _leaf(check: Check, prober: Member, member: Member) -> x509.Certificate:
    """What a member shows to its peers, judged."""
    report = prober.helper.tls_probe(rogues.at_ingress(member, None))
    check.expect(report.certificates, "a certificate", expected="shown", seen=report)
    leaf = report.certificates[0]
    check.equal(report.verify_error, None, "its chain, judged by the mesh's anchors")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    check.equal([name.value for name in names], [member.identity], "its names")
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    check.equal(constraints.ca, False, "its right to issue")
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    check.equal(set(usages), both, "its extended key usages")
    key = leaf.public_key()
    check.expect(
        isinstance(key, ec.EllipticCurvePublicKey), "its key", expected="an EC key", seen=key
    )
    return leaf


def _told(check: Check, server: Member, caller: Member, plan: Plan) -> tuple[str, ...]:
    """What the application was told of the caller of one request."""
    since = server.app.summary().last
    outcome = caller.app.one(plan)
    check.equal(outcome.status, 200, "status")
    (attempt,) = server.app.settled(since).by_id()[outcome.id or ""]
    return server.told(attempt)


def _flipped(signature: str) -> str:
    """Base64 of other bytes of the same length."""
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[0] ^= 0xFF
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
