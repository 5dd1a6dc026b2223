"""
The few rtnetlink requests that lay a pod's wires: links, addresses, routes, neighbours.

Written by hand because the process that uses it must stay small enough to be forked in a
millisecond; a request is one datagram and one acknowledgement. See rtnetlink(7), veth(4).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Netlink"]

_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_EXCL = 0x200
_NLM_F_CREATE = 0x400
_NLM_F_REPLACE = 0x100
_NLMSG_ERROR = 2

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_NEWROUTE, _RTM_NEWNEIGH = 20, 24, 28

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NDA_DST, _NDA_LLADDR = 1, 2

_IFF_UP = 1
_NUD_PERMANENT = 0x80
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 0, 253


class Netlink:
    """A socket bound for life to the network namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def add_veth(self, name: str, mac: str, peer: str, peer_mac: str, peer_ns_fd: int) -> None:
        """Make a pair: `name` here, `peer` in the network namespace open as `peer_ns_fd`."""
        peer_info = (
            _link_header()
            + _text(_IFLA_IFNAME, peer)
            + _attribute(_IFLA_ADDRESS, _mac(peer_mac))
            + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_ns_fd))
        )
        info = _text(_IFLA_INFO_KIND, "veth") + _attribute(
            _IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, peer_info)
        )
        self._ask(
            _RTM_NEWLINK,
            _NLM_F_CREATE | _NLM_F_EXCL,
            _link_header()
            + _text(_IFLA_IFNAME, name)
            + _attribute(_IFLA_ADDRESS, _mac(mac))
            + _attribute(_IFLA_LINKINFO, info),
            f"make veth {name}",
        )

    def index_of(self, name: str) -> int:
        """Index of a link in this socket's namespace, wherever the caller has gone meanwhile."""
        request = _link_header() + _text(_IFLA_IFNAME, name)
        answer = self._exchange(_RTM_GETLINK, _NLM_F_REQUEST, request)
        if struct.unpack_from("=H", answer, 4)[0] != _RTM_NEWLINK:
            raise OSError(errno.ENODEV, f"no link {name}")
        return int(struct.unpack_from("=i", answer, 20)[0])

    def set_up(self, index: int) -> None:
        """Bring the link with this index up."""
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP)
        self._ask(_RTM_NEWLINK, 0, body, f"set link {index} up")

    def delete_link(self, index: int) -> None:
        """Remove a link; the other end of a veth goes with it."""
        self._ask(_RTM_DELLINK, 0, _link_header(index), f"delete link {index}")

    def add_address(self, index: int, address: str, prefix: int = 32) -> None:
        """Give the link an IPv4 address."""
        packed = socket.inet_aton(address)
        header = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, _RT_SCOPE_UNIVERSE, index)
        self._ask(
            _RTM_NEWADDR,
            _NLM_F_CREATE | _NLM_F_EXCL,
            header + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed),
            f"add address {address}",
        )

    def add_route(
        self, destination: str, prefix: int, index: int, *, gateway: str = "", source: str = ""
    ) -> None:
        """Route an IPv4 prefix out of a link, over `gateway` when one is given."""
        scope = _RT_SCOPE_UNIVERSE if gateway else _RT_SCOPE_LINK
        body = struct.pack(
            "=BBBBBBBBI", socket.AF_INET, prefix, 0, 0,
            _RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST, 0,
        )  # fmt: skip
        if prefix:
            body += _attribute(_RTA_DST, socket.inet_aton(destination))
        body += _attribute(_RTA_OIF, struct.pack("=I", index))
        if gateway:
            body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
        if source:
            body += _attribute(_RTA_PREFSRC, socket.inet_aton(source))
        self._ask(
            _RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_REPLACE, body, f"route {destination}/{prefix}"
        )

    def add_neighbour(self, index: int, address: str, mac: str) -> None:
        """Tell for good which hardware address answers for `address`: no ARP is needed."""
        body = struct.pack("=BxxxiHBB", socket.AF_INET, index, _NUD_PERMANENT, 0, 0)
        body += _attribute(_NDA_DST, socket.inet_aton(address))
        body += _attribute(_NDA_LLADDR, _mac(mac))
        self._ask(_RTM_NEWNEIGH, _NLM_F_CREATE | _NLM_F_REPLACE, body, f"neighbour {address}")

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> None:
        answer = self._exchange(kind, _NLM_F_REQUEST | _NLM_F_ACK | flags, body)
        answer_kind = struct.unpack_from("=H", answer, 4)[0]
        if answer_kind != _NLMSG_ERROR:
            raise OSError(errno.EPROTO, f"{what}: netlink answered with message {answer_kind}")
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code:
            raise OSError(code, f"{what}: {os.strerror(code)}")

    def _exchange(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0)
        self._socket.send(head + body)
        return self._socket.recv(65536)


def _link_header(index: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * padding


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
