"""
Service addresses: nftables rules in the cluster's network, made from Services and EndpointSlices.

A connection to a service's address goes to a random one of its ready endpoints, as with kube-proxy;
what has none is refused at once. The rules rewrite where the packet enters the node, after a pod's
own rules have seen the service's address, so a sidecar's redirection still learns it.

Each change replaces the whole table in one transaction: connections that are on live in conntrack
and do not notice.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from harness.cluster.embedded.bootstrap import NODE_ADDRESS, SERVICE_NETWORK
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["ServiceRules", "VirtualPort", "ruleset", "virtual_ports"]

_LOG = logging.getLogger(__name__)

_SERVICES = ("", "services")
_SLICES = ("discovery.k8s.io", "endpointslices")
_SERVICE_NAME = "kubernetes.io/service-name"
_TABLE = "meshmark-services"
_RETRY_S = 1.0
_COALESCED_S = 0.01
"""A rollout changes several slices in a row: one table for all of them."""


class VirtualPort(NamedTuple):
    """One port of one service address, and where its connections go."""

    address: str
    protocol: str
    port: int
    endpoints: tuple[tuple[str, int], ...]


class ServiceRules:
    """Keeps the rules of the cluster's network namespace equal to what the store says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = asyncio.Event()
        self._changed.set()
        self._applied = ""
        store.listen(self._hear)

    async def run(self) -> None:
        """Apply changes for ever; a table that cannot be set is told of, and kept trying."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_COALESCED_S)
            self._changed.clear()
            try:
                await self.apply()
            except ClusterError:
                _LOG.exception("the service rules stay as they were")
                await asyncio.sleep(_RETRY_S)
                self._changed.set()

    async def apply(self) -> None:
        """Make the rules those of this moment. Raises ClusterError."""
        services = self._store.scan(_SERVICES)
        text = ruleset(virtual_ports(services, self._store.scan(_SLICES)))
        if text != self._applied:
            await _nft(text)
            self._applied = text

    def _hear(self, resource: Resource, _: Change) -> None:
        if resource.key in {_SERVICES, _SLICES}:
            self._changed.set()


def virtual_ports(services: Iterable[Obj], slices: Iterable[Obj]) -> list[VirtualPort]:
    """All service ports that have an address of their own, with their endpoints, sorted."""
    by_service: dict[tuple[str, str], list[Obj]] = {}
    for each in slices:
        metadata = each["metadata"]
        name = (metadata.get("labels") or {}).get(_SERVICE_NAME, "")
        by_service.setdefault((metadata["namespace"], name), []).append(each)
    ports = []
    for service in services:
        address = service["spec"].get("clusterIP")
        if not address or address == "None":
            continue
        metadata = service["metadata"]
        own = by_service.get((metadata["namespace"], metadata["name"]), [])
        ports += [
            VirtualPort(
                address,
                port.get("protocol", "TCP").lower(),
                int(port["port"]),
                _endpoints(own, port.get("name") or ""),
            )
            for port in service["spec"].get("ports") or ()
        ]
    return sorted(ports)


def ruleset(ports: Sequence[VirtualPort]) -> str:
    """The whole table, as `nft -f` takes it: it replaces the one that is there."""
    served = [port for port in ports if port.endpoints]
    chains, verdicts = [], []
    for number, port in enumerate(served):
        chain = f"port-{number}"
        choices = ", ".join(
            f"{at} : {address} . {target}" for at, (address, target) in enumerate(port.endpoints)
        )
        chains.append(
            f"  chain {chain} {{\n"
            f"    meta l4proto {port.protocol} dnat ip to numgen random mod "
            f"{len(port.endpoints)} map {{ {choices} }}\n  }}"
        )
        verdicts.append(f"{port.address} . {port.protocol} . {port.port} : goto {chain}")
    addresses = sorted({address for port in served for address, _ in port.endpoints})
    elements = f"    elements = {{ {', '.join(verdicts)} }}\n" if verdicts else ""
    pairs = ", ".join(f"{address} . {address}" for address in addresses)
    hairpins = f"    elements = {{ {pairs} }}\n" if pairs else ""
    return _TEMPLATE.format(
        table=_TABLE,
        network=SERVICE_NETWORK,
        node=NODE_ADDRESS,
        chains="\n".join(chains),
        elements=elements,
        hairpins=hairpins,
    )


_TEMPLATE = """\
table ip {table} {{
}}
delete table ip {table}
table ip {table} {{
{chains}
  map virtual-ports {{
    type ipv4_addr . inet_proto . inet_service : verdict
{elements}  }}
  # A pod that reaches itself through a service: its answer must come back the same way.
  set hairpins {{
    type ipv4_addr . ipv4_addr
{hairpins}  }}
  chain from-pods {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr {network} ip daddr . meta l4proto . th dport vmap @virtual-ports
  }}
  chain from-node {{
    type nat hook output priority -100; policy accept;
    ip daddr {network} ip daddr . meta l4proto . th dport vmap @virtual-ports
  }}
  chain hairpin {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @hairpins snat to {node}
  }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }}
  chain unserved-from-pods {{
    type filter hook forward priority filter; policy accept;
    ip daddr {network} goto refuse
  }}
  chain unserved-from-node {{
    type filter hook output priority filter; policy accept;
    ip daddr {network} goto refuse
  }}
}}
"""


def _endpoints(slices: Iterable[Obj], port_name: str) -> tuple[tuple[str, int], ...]:
    ready: set[tuple[str, int]] = set()
    leaving: set[tuple[str, int]] = set()
    for each in slices:
        numbers = [
            int(port["port"])
            for port in each.get("ports") or ()
            if (port.get("name") or "") == port_name
        ]
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            places = {(a, number) for a in endpoint["addresses"] for number in numbers}
            if conditions.get("ready", True):
                ready |= places
            elif conditions.get("serving") and conditions.get("terminating"):
                leaving |= places
    # Pods on their way out still serve while nothing else does, as with kube-proxy (KEP-1669).
    return tuple(sorted(ready or leaving))


async def _nft(text: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise ClusterError(f"nft could not be started: {error}") from error
    output, _ = await process.communicate(text.encode())
    if process.returncode:
        raise ClusterError(f"nft refused the service rules: {output.decode().strip()}")
