"""What the data plane does while its control plane is away."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from harness.mesh import resources
from harness.plugin import check
from harness.waiting import until
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT, Role
from suites.conformance.continuity import continuous
from suites.conformance.disruption import control_plane_down, scale
from suites.member import Member

if TYPE_CHECKING:
    from harness.mesh.protocol import Resource
    from harness.plugin import Check, Options
    from suites.conformance.conftest import World
    from suites.lab import Lab, Space

AWAY_S = 20.0
"""How long the control plane is away."""

AWAY_LONG_S = 300.0
"""The same with `--long`."""

CLOSED_S = 5.0
"""How long a proxy that cannot be certified is watched."""


@check("CP-01", last=True)
def test_traffic_goes_on_without_control_plane(
    check: Check, lab: Lab, world: World, run_options: Options
) -> None:
    """With no control plane, what the proxies know stays in force; then they hear of news again."""
    away_s = AWAY_LONG_S if run_options.long else AWAY_S
    with lab.space("cp-01") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=2)
            before = set(server.pod_names())
        with continuous(check, world.client, server) as traffic:
            traffic.until_served_by(before)
            with control_plane_down(lab):
                traffic.last(away_s)
                traffic.until_served_by(before)
            traffic.until_served_by(scale(server, 3))


@check("CP-02", last=True)
def test_proxies_without_certificate_stay_closed(check: Check, lab: Lab, world: World) -> None:
    """A proxy that starts with no control plane lets nothing in or out; later it comes up."""
    word, plain_word = (check.random.randbytes(16).hex() for _ in range(2))
    with lab.space("cp-02") as space:
        with check.phase("arrange"):
            first = Plan(url=world.server.url(f"/{word}"), id=f"{check.id}-first", deadline_s=30.0)
            flags = ("--on-start", first.json().decode())
            early = space.deploy("early", helper=True, arguments=flags)
            late_pod = _twin(early, "late")
            _until_arrived(world.server, word, 0)
        since = world.server.app.summary().last
        with world.server.helper.capture([word.encode(), plain_word.encode()]) as capture:
            with control_plane_down(lab):
                with check.phase("apply"):
                    late = _start(space, early, late_pod)
                    _restart_sidecar(early)
                with check.phase("control"):
                    control = Plan(url=world.server.url(f"/{plain_word}"))
                    naked = world.outsider.app.one(control)
                    check.control(naked.ok, "an outsider is answered", seen=naked.error)
                with check.phase("measure"):
                    into = f"http://{late.address()}:{HTTP_PORT}"
                    out = world.server.url(f"/{word}")
                    _none_passes(check, {into: world.outsider, out: early})
                    check.equal(_is_ready(late), False, "readiness of a pod without certificate")
            with check.phase("converge"):
                late.ready()
                early.ready()
                _until_arrived(world.server, word, since)
        with check.phase("reconcile"):
            assert capture.result is not None
            check.control(capture.result.matches[1], "the capture sees plaintext")
            check.control(capture.result.is_complete, "the capture saw every packet")
            check.equal(capture.result.matches[0], 0, "packets with the word in the clear")
            arrived = world.server.app.settled(since).attempts
            told = [world.server.told(a) for a in arrived if word in a.target]
            check.equal(told, [(late.identity,)], "who called, and as whom, once all was back")


def _twin(member: Member, name: str) -> Resource:
    """A copy of a member's pod as the mesh made it, to be started when nobody can enroll it."""
    pod = copy.deepcopy(member.pods()[0].to_dict())
    metadata = pod["metadata"]
    spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "annotations": metadata.get("annotations", {}),
            "labels": {**metadata["labels"], "app": name},
        },
        "spec": spec,
    }


def _start(space: Space, like: Member, pod: Resource) -> Member:
    """Start the copy, and return when its sidecar runs."""
    name = pod["metadata"]["name"]
    role = Role(name=name, namespace=space.name, service_account=like.role.account, helper=True)
    resources.apply(space.lab.cluster.client(), [pod])
    late = Member(space, role, 1)
    sidecar = space.lab.mesh.sidecar
    assert sidecar is not None
    until(
        lambda: _running(late),
        what=f"the sidecar of {space.name}/{name} runs",
        holds=lambda running: sidecar.container in running,
        timeout_s=30.0,
    )
    return late


def _restart_sidecar(member: Member) -> None:
    sidecar = member.space.lab.mesh.sidecar
    assert sidecar is not None
    process = member.helper.process(sidecar.process)
    member.helper.signal("KILL", pid=process.pid)
    member.helper.wait_restarted(process)


def _until_arrived(server: Member, word: str, since: int) -> None:
    """What a pod sends as it starts may be under way when the pod is ready already."""
    until(
        lambda: [a.seq for a in server.app.settled(since).attempts if word in a.target],
        what=f"the call that a pod makes on its start arrives at {server.role.name}",
        timeout_s=30.0,
    )


def _none_passes(check: Check, callers: dict[str, Member]) -> None:
    """No call to these URLs is answered, each made by its caller for `CLOSED_S`."""
    plans = {
        url: Plan(
            url=url,
            id=f"{check.id}-{caller.role.name}",
            rate_rps=20,
            duration_s=CLOSED_S,
            concurrency=200,
            connections=0,
            deadline_s=2.0,
        )
        for url, caller in callers.items()
    }
    running = {url: caller.app.start(plans[url]) for url, caller in callers.items()}
    for url, traffic in running.items():
        until(
            traffic.summary,
            what=f"calls to {url} ended",
            holds=lambda summary: not summary.running,
            timeout_s=4 * CLOSED_S,
        )
    outcomes = {url: traffic.stop().outcomes for url, traffic in running.items()}
    answered = {url: sum(o.status is not None for o in made) for url, made in outcomes.items()}
    check.measured(sum(answered.values()), "answered", n=sum(map(len, outcomes.values())))
    none = dict.fromkeys(answered, 0)
    check.equal(answered, none, "calls through a proxy without certificate")


def _running(member: Member) -> set[str]:
    """The containers of the member's pod that run."""
    (pod,) = member.pods()
    status = pod.status
    statuses = [
        *((status.initContainerStatuses if status else None) or []),
        *((status.containerStatuses if status else None) or []),
    ]
    return {each.name for each in statuses if each.state and each.state.running}


def _is_ready(member: Member) -> bool:
    (pod,) = member.pods()
    conditions = (pod.status.conditions if pod.status else None) or []
    return any(one.type == "Ready" and one.status == "True" for one in conditions)
