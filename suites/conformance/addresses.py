"""Giving a pod the address that another one had."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

from lightkube.resources.core_v1 import Node, Pod

from harness.waiting import until

if TYPE_CHECKING:
    from suites.lab import Member, Space

__all__ = ["deploy_at"]

_WISH = "cni.projectcalico.org/ipAddrs"
"""Annotation by which a pod wishes for an address, where the cluster's network knows wishes."""

_GONE_S = 60.0
_FILLERS_READY_S = 120.0


def deploy_at(space: Space, name: str, address: str, node: str) -> Member:
    """
    A pod on this node, at this free address if the cluster can be brought to that.

    Some networks grant a wish. Most give the addresses of a node's range in turn, so the ones
    before it are used up first.
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
    count = len(_between(space, first.address(), address, node))
    if count:
        fillers = space.deploy(
            "fillers", meshed=False, service=False, node=node, replicas=count, wait=False
        )
        fillers.ready(timeout_s=_FILLERS_READY_S)


def _between(space: Space, last: str, address: str, node: str) -> list[str]:
    """The free addresses of a node after `last` and before `address`, in turn."""
    client = space.lab.cluster.client()
    found = client.get(Node, node)
    hosts = [str(host) for host in ipaddress.ip_network((found.spec and found.spec.podCIDR) or "")]
    # The first is the network's, the second its gateway's, the last one reaches all.
    usable = hosts[2:-1]
    start = usable.index(last) + 1
    turn = usable[start:] + usable[:start]
    pods = client.list(Pod, namespace="*")
    used = {pod.status.podIP for pod in pods if pod.status and pod.status.podIP}
    return [each for each in turn[: turn.index(address)] if each not in used]
