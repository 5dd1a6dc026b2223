"""
The cluster's name server: everything below `cluster.local`, and nothing else.

Answers follow the Kubernetes DNS specification
(https://github.com/kubernetes/dns/blob/master/docs/specification.md) and are made from the store at
the moment of the question. Names outside the cluster do not exist here, and that is said at once:
a resolver that goes through its search list must not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from dnslib import CNAME, PTR, QTYPE, RCODE, RR, SOA, SRV, A, DNSError, DNSRecord

from harness.cluster.embedded.status import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.embedded.store import Obj, Store

__all__ = ["DOMAIN", "Names", "answer", "serve_dns"]

DOMAIN = "cluster.local"

_TTL_S = 5
"""As CoreDNS's kubernetes plugin."""
_UDP_BYTES = 1232
"""Longer answers are truncated, and asked for again by TCP; https://dnsflagday.net/2020/."""
_TCP_IDLE_S = 10.0
_SERVICES = ("", "services")
_SLICES = ("discovery.k8s.io", "endpointslices")
_SERVICE_NAME = "kubernetes.io/service-name"


class _Endpoint(NamedTuple):
    name: str
    address: str
    ports: tuple[tuple[str, str, int], ...]
    """Name, protocol in lower case, number."""


class Names:
    """Looks names up. `records` gives None for a name that does not exist."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def records(self, name: str) -> list[RR] | None:
        """All records of a name given in lower case without its last dot."""
        if name.endswith(".in-addr.arpa"):
            return self._reverse(name)
        labels = name.removesuffix(f".{DOMAIN}").split(".")
        if name == DOMAIN or not name.endswith(f".{DOMAIN}"):
            return [] if name == DOMAIN else None
        *rest, namespace, kind = labels if len(labels) > 1 else ["", *labels]
        if kind == "svc":
            return self._of_service(name, rest, namespace)
        if kind == "pod" and len(rest) == 1:
            return _address_record(name, rest[0].replace("-", "."))
        return None

    def _of_service(self, name: str, rest: list[str], namespace: str) -> list[RR] | None:
        if not rest:
            return [] if self._has_namespace(namespace) else None
        *below, service_name = rest
        try:
            service = self._store.peek(_SERVICES, namespace, service_name)
        except NotFound:
            return None
        base = f"{service_name}.{namespace}.svc.{DOMAIN}"
        if not below:
            return self._at_service(name, base, service)
        if len(below) == 2 and all(label.startswith("_") for label in below):
            port, protocol = (label[1:] for label in below)
            return self._ports(name, base, service, port, protocol) or None
        if len(below) == 1:
            found = [each for each in self._endpoints(service) if each.name == below[0]]
            return [_a(name, each.address) for each in found] or None
        return None

    def _at_service(self, name: str, base: str, service: Obj) -> list[RR]:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return [RR(name, QTYPE.CNAME, ttl=_TTL_S, rdata=CNAME(spec["externalName"]))]
        services = self._ports(name, base, service, "", "")
        if _headless(service):
            addresses = sorted({each.address for each in self._endpoints(service)})
            return [_a(name, address) for address in addresses] + services
        return [_a(name, spec["clusterIP"]), *services]

    def _ports(self, name: str, base: str, service: Obj, port_name: str, protocol: str) -> list[RR]:
        """SRV records; of all ports when none is named, as CoreDNS answers."""
        records = []
        for target, number in self._targets(base, service, port_name, protocol):
            records.append(RR(name, QTYPE.SRV, ttl=_TTL_S, rdata=SRV(0, 100, number, target)))
        return records

    def _targets(
        self, base: str, service: Obj, port_name: str, protocol: str
    ) -> Iterator[tuple[str, int]]:
        def chosen(name: str, over: str) -> bool:
            return not protocol or (name == port_name and over == protocol)

        if _headless(service):
            for endpoint in self._endpoints(service):
                for name, over, number in endpoint.ports:
                    if chosen(name, over):
                        yield f"{endpoint.name}.{base}", number
            return
        for port in service["spec"].get("ports") or ():
            if chosen(port.get("name") or "", port.get("protocol", "TCP").lower()):
                yield base, int(port["port"])

    def _endpoints(self, service: Obj) -> Iterator[_Endpoint]:
        metadata = service["metadata"]
        for each in self._store.scan(_SLICES):
            of = each["metadata"]
            labels = of.get("labels") or {}
            if (of["namespace"], labels.get(_SERVICE_NAME)) != (
                metadata["namespace"],
                metadata["name"],
            ):
                continue
            ports = tuple(
                (port.get("name") or "", port.get("protocol", "TCP").lower(), int(port["port"]))
                for port in each.get("ports") or ()
            )
            for endpoint in each.get("endpoints") or ():
                if not (endpoint.get("conditions") or {}).get("ready", True):
                    continue
                for address in endpoint["addresses"]:
                    named = endpoint.get("hostname") or address.replace(".", "-")
                    yield _Endpoint(named, address, ports)

    def _reverse(self, name: str) -> list[RR] | None:
        address = ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
        for service in self._store.scan(_SERVICES):
            metadata = service["metadata"]
            base = f"{metadata['name']}.{metadata['namespace']}.svc.{DOMAIN}"
            if service["spec"].get("clusterIP") == address:
                return [RR(name, QTYPE.PTR, ttl=_TTL_S, rdata=PTR(base))]
            if _headless(service):
                for endpoint in self._endpoints(service):
                    if endpoint.address == address:
                        target = f"{endpoint.name}.{base}"
                        return [RR(name, QTYPE.PTR, ttl=_TTL_S, rdata=PTR(target))]
        return None

    def _has_namespace(self, name: str) -> bool:
        try:
            self._store.peek(("", "namespaces"), None, name)
        except NotFound:
            return False
        return True


def answer(names: Names, question: bytes, *, limit: int | None) -> bytes:
    """
    The answer to one message, at most `limit` bytes long.

    Raises:
        DNSError: the message is not a question.

    """
    request = DNSRecord.parse(question)
    if request.header.qr:  # else two servers could answer each other for ever
        raise DNSError("not a question but an answer")
    reply = request.reply()
    asked = request.q
    name = str(asked.qname).lower().rstrip(".")
    records = names.records(name)
    if records is None:
        reply.header.rcode = RCODE.NXDOMAIN
        records = []
    wanted = [each for each in records if asked.qtype in {each.rtype, QTYPE.ANY}]
    wanted = wanted or [each for each in records if each.rtype == QTYPE.CNAME]
    for each in wanted:
        # The name as it was asked for: some resolvers compare it letter by letter.
        reply.add_answer(RR(asked.qname, each.rtype, ttl=each.ttl, rdata=each.rdata))
    if asked.qtype == QTYPE.SRV:
        for target in dict.fromkeys(str(each.rdata.target) for each in wanted):
            found = names.records(target.lower().rstrip(".")) or []
            reply.add_ar(*(each for each in found if each.rtype == QTYPE.A))
    if not wanted:
        reply.add_auth(_authority())
    packed: bytes = reply.pack()
    if limit is not None and len(packed) > limit:
        packed = reply.truncate().pack()
    return packed


@contextlib.asynccontextmanager
async def serve_dns(names: Names, address: str, port: int = 53) -> Any:
    """Answer by UDP and TCP on this address while the context is open. Raises OSError."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(names), local_addr=(address, port)
    )
    server = await asyncio.start_server(
        lambda reader, writer: _serve_stream(names, reader, writer), address, port
    )
    try:
        yield
    finally:
        transport.close()
        server.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, names: Names) -> None:
        self._names = names
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # Whatever is not a question is dropped, as the sender cannot be told anything useful.
        with contextlib.suppress(DNSError, ValueError, struct.error):
            self._transport.sendto(answer(self._names, data, limit=_UDP_BYTES), addr)


async def _serve_stream(
    names: Names, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(
        asyncio.IncompleteReadError, TimeoutError, OSError, DNSError, ValueError, struct.error
    ):
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE_S):
                    length = struct.unpack(">H", await reader.readexactly(2))[0]
                    question = await reader.readexactly(length)
                    reply = answer(names, question, limit=None)
                    writer.write(struct.pack(">H", len(reply)) + reply)
                    await writer.drain()
        finally:
            writer.close()


def _headless(service: Obj) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def _a(name: str, address: str) -> RR:
    return RR(name, QTYPE.A, ttl=_TTL_S, rdata=A(address))


def _address_record(name: str, address: str) -> list[RR] | None:
    try:
        return [_a(name, str(ipaddress.IPv4Address(address)))]
    except ValueError:
        return None


def _authority() -> RR:
    times = (1, 7200, 1800, 86400, _TTL_S)
    return RR(
        DOMAIN, QTYPE.SOA, ttl=_TTL_S, rdata=SOA(f"ns.dns.{DOMAIN}", f"hostmaster.{DOMAIN}", times)
    )
