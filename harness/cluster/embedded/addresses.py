"""The pods' addresses: handed out in turn, so that one is not used again soon after its pod."""

from __future__ import annotations

import ipaddress

from harness.errors import ClusterError

__all__ = ["POD_NETWORK", "Addresses"]

POD_NETWORK = "10.244.0.0/16"


class Addresses:
    """Free addresses of the pod network. The first ones belong to the node."""

    def __init__(self, network: str = POD_NETWORK, reserved: int = 4) -> None:
        hosts = ipaddress.ip_network(network)
        self._first = int(hosts.network_address) + reserved
        self._last = int(hosts.broadcast_address) - 1
        self._next = self._first
        self._taken: set[int] = set()

    def take(self) -> str:
        """Take the next free address. Raises ClusterError when there is none."""
        for _ in range(self._first, self._last + 1):
            number = self._next
            self._next = self._first if number == self._last else number + 1
            if number not in self._taken:
                self._taken.add(number)
                return str(ipaddress.ip_address(number))
        raise ClusterError("all pod addresses are in use: delete pods")

    def give_back(self, address: str) -> None:
        """Free an address; an empty one is ignored."""
        if address:
            self._taken.discard(int(ipaddress.ip_address(address)))
