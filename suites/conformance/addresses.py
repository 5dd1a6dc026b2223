"""Giving a pod the address that another one had."""

from __future__ import annotations

import ipaddress
import itertools
import json
from typing import TYPE_CHECKING

from lightkube.resources.core_v1 import Node, Pod

from harness.errors import NotInTime
from harness.plugin.check import Inconclusive
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Collection

    from suites.lab import Space
    from suites.member import Member

__all__ = ["FILLERS", "deploy_at", "free_before"]

FILLERS = 64
"""No more pods than this take what comes before an address: a node holds about a hundred."""

_WISH = "cni.projectcalico.org/ipAddrs"
"""Annotation by which a pod wishes for an address, where the cluster's network knows wishes."""

_GONE_S = 60.0
_FILLERS_READY_S = 120.0


def deploy_at(space: Space, name: str, address: str, node: str) -> Member:
    """
    A pod on this node, at this free address if the cluster can be brought to that.

    Some networks grant a wish. Most give the addresses of a node's range in turn, so the ones
    before it are used up first.

    Raises:
        Inconclusive: the network gives addresses in another way, or has too many of them.

    """
    member = _deploy(space, name, address, node)
    if member.address() != address:
        member.delete()
        until(lambda: not _exists(space, name), what=f"pod {name} gone", timeout_s=_GONE_S)
        _use_up(space, address, node)
        member = _deploy(space, name, address, node)
    return member


def _deploy(space: Space, name: str, address: str, node: str) -> Member:
    return space.deploy(name, annotations={_WISH: json.dumps([address])}, node=node)


def _exists(space: Space, name: str) -> bool:
    pods = space.lab.cluster.client().list(Pod, namespace=space.name)
    return any(pod.metadata and pod.metadata.name == name for pod in pods)


def _use_up(space: Space, address: str, node: str) -> None:
    """Have pods take every free address of the node's range from the last one given to this."""
    first = space.deploy("filler", meshed=False, service=False, node=node)
    client = space.lab.cluster.client()
    spec = client.get(Node, node).spec
    pods = client.list(Pod, namespace="*")
    used = {pod.status.podIP for pod in pods if pod.status and pod.status.podIP}
    count = free_before(address, first.address(), (spec and spec.podCIDR) or "", used)
    if not count:
        return
    fillers = space.deploy(
        "fillers", meshed=False, service=False, node=node, replicas=count, wait=False
    )
    try:
        fillers.ready(timeout_s=_FILLERS_READY_S)
    except NotInTime as error:
        raise Inconclusive(f"node {node} does not take {count} pods: {error}") from error


def free_before(address: str, last: str, pod_cidr: str, used: Collection[str]) -> int:
    """
    How many free addresses a node gives in turn after `last` and before `address`.

    Raises:
        Inconclusive: it cannot be told, or they are more than `FILLERS`; says which.

    """
    if not pod_cidr:
        raise Inconclusive("the node has no podCIDR, so no address can be had on purpose")
    network = ipaddress.ip_network(pod_cidr)
    # The first is the network's, the second its gateway's, the last one reaches all.
    usable = range(int(network[0]) + 2, int(network[-1]))
    wanted, given = int(ipaddress.ip_address(address)), int(ipaddress.ip_address(last))
    if wanted not in usable or given not in usable:
        raise Inconclusive(f"the network gives {last}, not addresses of {pod_cidr} in turn")
    if wanted == given:
        raise Inconclusive(f"the network gave {address} to another pod")
    taken = {int(ipaddress.ip_address(each)) for each in used}
    start = usable.index(given)
    turn = itertools.chain(usable[start + 1 :], usable[:start])
    before = itertools.takewhile(lambda each: each != wanted, turn)
    free = (each for each in before if each not in taken)
    count = sum(1 for _ in itertools.islice(free, FILLERS + 1))
    if count > FILLERS:
        raise Inconclusive(f"more than {FILLERS} addresses of {pod_cidr} come before {address}")
    return count
