"""Virtual addresses and node ports of services: given out once, checked when asked for."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from harness.cluster.embedded.status import Cause, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["Addresses"]

_SERVICES: Key = ("", "services")
_NETWORK = ipaddress.ip_network("10.96.0.0/16")
_FIRST_DYNAMIC = 256
"""Offset from which addresses are given out; those below are for services that ask for one."""
_NODE_PORTS = range(30000, 32768)
_NONE = "None"
"""In place of an address: the service is headless."""


class Addresses:
    """What the services in a store have, and what is free."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = _FIRST_DYNAMIC

    def allocate(self, resource: Resource, service: Obj, old: Obj | None) -> None:
        """
        Give a service its addresses and node ports, in place.

        An existing service keeps what it has where the new state does not say otherwise.

        Raises:
            Invalid: it asks for an address that is taken or outside of the range.

        """
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return
        before = (old or {}).get("spec") or {}
        if not spec.get("clusterIP"):
            listed = spec.get("clusterIPs") or []
            spec["clusterIP"] = (
                (listed[0] if listed else "") or before.get("clusterIP") or self._free()
            )
        if spec["clusterIP"] not in {_NONE, before.get("clusterIP")}:
            self._check(resource, service)
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("type") in {"NodePort", "LoadBalancer"}:
            self._give_node_ports(spec, before)

    def _check(self, resource: Resource, service: Obj) -> None:
        address = service["spec"]["clusterIP"]
        name = service["metadata"].get("name", "")
        try:
            inside = ipaddress.ip_address(address) in _NETWORK
        except ValueError:
            inside = False
        told = ""
        if not inside:
            told = f"the provided IP is not in the valid range; it is {_NETWORK}"
        elif address in self._taken():
            told = "provided IP is already allocated"
        if told:
            message = f'Invalid value: "{address}": failed to allocate IP {address}: {told}'
            raise Invalid(resource, name, [Cause("spec.clusterIPs[0]", message)])

    def _free(self) -> str:
        taken = set(self._taken())
        while True:
            address = str(_NETWORK[self._next])
            self._next += 1
            if self._next >= _NETWORK.num_addresses - 1:
                self._next = _FIRST_DYNAMIC
            if address not in taken:
                return address

    def _taken(self) -> Iterator[str]:
        for service in self._store.scan(_SERVICES):
            yield service["spec"].get("clusterIP", "")

    def _give_node_ports(self, spec: Obj, before: Obj) -> None:
        had = {_port(port): port.get("nodePort") for port in before.get("ports") or ()}
        taken = {
            port.get("nodePort")
            for service in self._store.scan(_SERVICES)
            for port in service["spec"].get("ports") or ()
        }
        free = (number for number in _NODE_PORTS if number not in taken)
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                port["nodePort"] = had.get(_port(port)) or next(free)


def _port(port: Obj) -> tuple[int, str]:
    return port["port"], port.get("protocol", "TCP")
