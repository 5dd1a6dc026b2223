"""
What the destination component would answer now, as JSON on its admin port.

The gRPC services cannot be reached through the API server's pod proxy, which speaks HTTP/1; these
pages can. They compile the very views that watches get, read-only and watched by nobody.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from reference_mesh.control_plane import targets, wire
from reference_mesh.control_plane.destination import endpoints, profiles
from reference_mesh.control_plane.destination.service import asked_service
from reference_mesh.control_plane.policy.service import inbound_question, outbound_question
from reference_mesh.control_plane.snapshot import Reader
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import destination_pb2, inbound_pb2, net_pb2, outbound_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Snapshot

__all__ = ["Inspection"]

_REFUSED = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404}


class Inspection:
    """The pages `/endpoints`, `/profile` and `/policy` over one snapshot."""

    def __init__(self, snapshot: Snapshot, settings: Settings) -> None:
        self._snapshot = snapshot
        self._settings = settings
        self._pages = {
            "/endpoints": self._endpoints,
            "/profile": self._profile,
            "/policy": self._policy,
        }

    def page(self, path: str, query: str) -> tuple[int, str] | None:
        """Status and JSON of a page, or None when there is no such page."""
        make = self._pages.get(path)
        if make is None:
            return None
        asked = {key: values[-1] for key, values in urllib.parse.parse_qs(query).items()}
        try:
            found = make(asked)
        except InvalidInput as error:
            return _shown(400, {"error": str(error)})
        if isinstance(found, wire.Refusal):
            status = _REFUSED.get(found.code.name, 409)
            return _shown(status, {"error": found.why, "code": found.code.name})
        return _shown(200, found)

    def _endpoints(self, asked: Mapping[str, str]) -> dict[str, Any] | wire.Refusal:
        """`Destination.Get` of `authority` for a client with context `token`."""
        target = asked_service(_needed(asked, "authority"), self._settings)
        caller = targets.caller_of(asked.get("token", ""))
        found = endpoints.compile_endpoints(self._reader(), target, caller, self._settings)
        if isinstance(found, wire.Refusal):
            return found
        listed = [
            {"ip": ip, "port": port, **_plain(message)}
            for (ip, port), message in sorted(found.addresses.items())
        ]
        return {"labels": dict(found.labels), "endpoints": listed}

    def _profile(self, asked: Mapping[str, str]) -> dict[str, Any] | wire.Refusal:
        """`Destination.GetProfile` of `authority` for a client with context `token`."""
        authority = _needed(asked, "authority")
        caller = targets.caller_of(asked.get("token", ""))
        found = profiles.compile_profile(self._reader(), authority, caller, self._settings)
        return _decoded(found, destination_pb2.DestinationProfile)

    def _policy(self, asked: Mapping[str, str]) -> dict[str, Any] | wire.Refusal:
        """`GetPort` of a workload's `port`, or `Get` of an `authority` or an `address`."""
        if "port" in asked:
            spec = inbound_pb2.PortSpec(
                workload=_needed(asked, "workload"), port=_number(asked["port"])
            )
            inbound = inbound_question(spec, self._settings).compile_view(self._reader())
            return _decoded(inbound, inbound_pb2.Server)
        traffic = outbound_pb2.TrafficSpec(source_workload=asked.get("workload", ""))
        if "address" in asked:
            host, port = targets.split_port(asked["address"])
            if not targets.is_address(host):
                raise InvalidInput(f"{asked['address']!r} is not an address and a port")
            traffic.addr.CopyFrom(net_pb2.TcpAddress(ip=wire.ip_address(host), port=port))
        else:
            traffic.authority = _needed(asked, "authority")
        outbound = outbound_question(traffic, self._settings).compile_view(self._reader())
        return _decoded(outbound, outbound_pb2.OutboundPolicy)

    def _reader(self) -> Reader:
        return Reader(self._snapshot)


def _decoded(found: bytes | wire.Refusal, kind: type[Message]) -> dict[str, Any] | wire.Refusal:
    return found if isinstance(found, wire.Refusal) else _plain(kind.FromString(found))


def _plain(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message)


def _shown(status: int, document: Mapping[str, Any]) -> tuple[int, str]:
    return status, json.dumps(document, indent=2) + "\n"


def _needed(asked: Mapping[str, str], name: str) -> str:
    if not asked.get(name):
        raise InvalidInput(f"the query has no {name}")
    return asked[name]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise InvalidInput(f"{text!r} is not a port")
    return int(text)
