"""
The pods' addresses: handed out in turn, so that one is not used again soon after its pod.

A pod may wish for one, as with Calico, by the annotation `WISH`; a wish for one that is taken, or
is none of the network's, is passed over.
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["POD_NETWORK", "WISH", "Addresses", "wished"]

WISH = "cni.projectcalico.org/ipAddrs"
"""A JSON list with one address."""

POD_NETWORK = "10.244.0.0/16"


class Addresses:
    """Free addresses of the pod network. The first ones belong to the node."""

    def __init__(self, network: str = POD_NETWORK, reserved: int = 4) -> None:
        hosts = ipaddress.ip_network(network)
        self._first = int(hosts.network_address) + reserved
        self._last = int(hosts.broadcast_address) - 1
        self._next = self._first
        self._taken: set[int] = set()

    def take(self, wanted: str = "") -> str:
        """
        Take the next free address, or `wanted` if that is free.

        Raises:
            ClusterError: none is free.

        """
        if wanted and self._is_free(wanted):
            self._taken.add(int(ipaddress.ip_address(wanted)))
            return wanted
        for _ in range(self._first, self._last + 1):
            number = self._next
            self._next = self._first if number == self._last else number + 1
            if number not in self._taken:
                self._taken.add(number)
                return str(ipaddress.ip_address(number))
        raise ClusterError("all pod addresses are in use: delete pods")

    def _is_free(self, address: str) -> bool:
        try:
            number = int(ipaddress.ip_address(address))
        except ValueError:
            return False
        return self._first <= number <= self._last and number not in self._taken

    def give_back(self, address: str) -> None:
        """Free an address; an empty one is ignored."""
        if address:
            self._taken.discard(int(ipaddress.ip_address(address)))


def wished(pod: Mapping[str, Any]) -> str:
    """The address that a pod wishes for; empty when it wishes for none that can be read."""
    wish = (pod["metadata"].get("annotations") or {}).get(WISH, "[]")
    try:
        addresses = json.loads(wish)
    except ValueError:
        return ""
    return str(addresses[0]) if isinstance(addresses, list) and addresses else ""
