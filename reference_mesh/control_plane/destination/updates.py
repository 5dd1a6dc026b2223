"""
What a watcher of endpoints is sent to get from the set that it knows to the present one.

Removals go first: an address that comes back as another pod's must not be removed afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane import wire
from reference_mesh.proto.gen import destination_pb2

if TYPE_CHECKING:
    from reference_mesh.control_plane.destination.endpoints import EndpointSet

__all__ = ["difference", "first"]


def first(endpoints: EndpointSet) -> destination_pb2.Update:
    """The first message of a stream: all addresses, or that there are none."""
    if endpoints.addresses:
        return _add(endpoints, list(endpoints.addresses))
    return destination_pb2.Update(no_endpoints=destination_pb2.NoEndpoints(exists=True))


def difference(old: EndpointSet, new: EndpointSet) -> list[destination_pb2.Update]:
    """Messages that turn one set into the other; empty when they are the same."""
    gone = sorted(old.addresses.keys() - new.addresses.keys())
    changed = [
        address for address, told in new.addresses.items() if old.addresses.get(address) != told
    ]
    messages = []
    if gone:
        addresses = [wire.address(address) for address in gone]
        removal = destination_pb2.AddrSet(addrs=addresses)
        messages.append(destination_pb2.Update(remove=removal))
    if changed:
        messages.append(_add(new, changed))
    return messages


def _add(endpoints: EndpointSet, addresses: list[wire.Address]) -> destination_pb2.Update:
    return destination_pb2.Update(
        add=destination_pb2.WeightedAddrSet(
            addrs=[endpoints.addresses[address] for address in sorted(addresses)],
            metric_labels=endpoints.labels,
        )
    )
