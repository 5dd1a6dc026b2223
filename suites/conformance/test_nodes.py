"""Nodes whose agent restarts, and nodes that are lost and come back; on real nodes only."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lightkube.resources.core_v1 import Pod

from harness.cluster.kind import KindCluster
from harness.mesh import resources
from harness.plugin import check
from harness.workload.plans import Plan
from suites.conformance import recovery
from suites.conformance.continuity import continuous
from suites.conformance.disruption import LINGER, until_gone
from suites.conformance.first_last import FirstAndLast

if TYPE_CHECKING:
    from harness.plugin import Check
    from suites.conformance.conftest import World
    from suites.lab import Lab
    from suites.member import Member

PODS = 4
"""Pods that start, and end, while the agents of their nodes restart."""

RATE_RPS = 50.0
AWAY_S = 75.0
"""Longer than Kubernetes takes to call a node lost (50 s), and shorter than until it evicts."""

BACK_S = 120.0


@check("LC-08", last=True)
def test_agents_restart_unnoticed(check: Check, lab: Lab, world: World) -> None:
    """Each kubelet restarts while pods run, start and end: order and traffic stay as they were."""
    with lab.space("lc-08") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=2, arguments=LINGER)
            calls = FirstAndLast(check, world.server)
            before = _restarts(lab, space.name, world.space.name)
        with continuous(check, world.client, server) as traffic:
            traffic.until_served_by(server.pod_names())
            member = space.deploy("client", replicas=PODS, arguments=calls.arguments, wait=False)
            _restart_agents(lab)
            member.ready(timeout_s=BACK_S)
            lab.logbook.follow(lab.cluster, space.name, member.pod_names())
            resources.scale(lab.cluster.client(), space.name, member.role.name, 0)
            _restart_agents(lab)
            # Not until both servers are served again: a balancer by latency may leave one that was
            # slow while its node was busy alone for a minute, and no request need fail for that.
            until_gone(member)
        with check.phase("reconcile"):
            after = _restarts(lab, space.name, world.space.name)
            check.equal(after, before, "restarts of containers that ran all along")
            calls.all_known(member, PODS)


# After what looks back on the lane, which would count what restarts with its node.
@check("LC-09", last=True, looks_back=True)
def test_a_lost_node_is_got_over(check: Check, lab: Lab, world: World) -> None:
    """
    A node is lost with a server on it, and comes back.

    Requests may fail for `recovery.RECOVERED_S` from its loss. None may fail before, later, or
    because the node comes back.
    """
    cluster = _kind(lab)
    with lab.space("lc-09") as space:
        with check.phase("arrange"):
            server = space.deploy("server", replicas=2)
            home = _nodes(world.client)[world.client.role.name]
            lost = {node for node in _nodes(server).values() if node != home}
            check.control(len(lost) == 1, "one of two servers is on another node", seen=lost)
        plan = Plan(url=server.url(), id=check.id, rate_rps=RATE_RPS, concurrency=500,
                    deadline_s=3.0, brief=True)  # fmt: skip
        with check.phase("measure"), world.client.app.traffic(plan) as traffic:
            traffic.wait_calls(100)
            check.control(not _unserved(server), "both are served", seen=_unserved(server))
            before = traffic.summary().calls
            (node,) = lost
            cluster.stop_node(node)
            try:
                traffic.wait_calls(round(AWAY_S * RATE_RPS), timeout_s=2 * AWAY_S)
            finally:
                cluster.start_node(node)
            _until_back(lab, world, server)
            traffic.wait_calls(
                round(recovery.RECOVERED_S * RATE_RPS), timeout_s=2 * recovery.RECOVERED_S
            )
            unserved = _unserved(server)
        with check.phase("reconcile"):
            recovery.judge(check, traffic.stop().outcomes, before, plan.deadline_s)
            check.equal(unserved, [], "servers without a request once the node was back")
            told = {server.told(a) for app in server.apps.values() for a in app.settled().attempts}
            check.equal(told, {(world.client.identity,)}, "who called, as the servers were told")


def _unserved(server: Member) -> list[str]:
    """The pods whose application has had no request since it started."""
    return [name for name, app in server.apps.items() if not app.summary().arrived]


def _until_back(lab: Lab, world: World, server: Member) -> None:
    """Everything that was on the node runs again."""
    for namespace, names in lab.mesh.control_plane().items():
        resources.deployments_available(lab.cluster, namespace, names, timeout_s=BACK_S)
    members = (getattr(world, each.name) for each in dataclasses.fields(world))
    for member in (server, *(each for each in members if each is not world.space)):
        member.ready(timeout_s=BACK_S)


def _restart_agents(lab: Lab) -> None:
    cluster = _kind(lab)
    for node in cluster.nodes():
        cluster.restart_kubelet(node)


def _restarts(lab: Lab, *namespaces: str) -> dict[tuple[str, str], int]:
    """How often each container of the pods in these namespaces was restarted."""
    return {
        (pod.metadata.name or "", status.name): status.restartCount
        for namespace in namespaces
        for pod in lab.cluster.client().list(Pod, namespace=namespace)
        if pod.metadata and pod.status
        for status in (
            *(pod.status.initContainerStatuses or ()),
            *(pod.status.containerStatuses or ()),
        )
    }


def _nodes(member: Member) -> dict[str, str]:
    """The node of each pod of a member."""
    return {
        pod.metadata.name or "": pod.spec.nodeName or ""
        for pod in member.pods()
        if pod.metadata and pod.spec
    }


def _kind(lab: Lab) -> KindCluster:
    assert isinstance(lab.cluster, KindCluster), "the catalogue has these checks for kind only"
    return lab.cluster
