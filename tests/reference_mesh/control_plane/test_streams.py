"""Destination and policy over real sockets: first answers, changes, refusals and the end."""

from __future__ import annotations

import asyncio
import contextlib
import json

import grpc
import grpc.aio
import pytest

from reference_mesh.control_plane import serving, wire
from reference_mesh.control_plane.destination.service import Destination
from reference_mesh.control_plane.policy.service import Policy
from reference_mesh.proto.gen import (
    destination_pb2,
    destination_pb2_grpc,
    inbound_pb2,
    inbound_pb2_grpc,
    outbound_pb2,
    outbound_pb2_grpc,
)

WEB = "web.shop.svc.cluster.local:80"
WORKLOAD = json.dumps({"ns": "shop", "pod": "web-1"})


async def at_once():
    """The snapshot is whole."""


class Stubs:
    """Clients of all services on one channel."""

    def __init__(self, channel) -> None:
        self.destination = destination_pb2_grpc.DestinationStub(channel)
        self.inbound = inbound_pb2_grpc.InboundServerPoliciesStub(channel)
        self.outbound = outbound_pb2_grpc.OutboundPoliciesStub(channel)


@pytest.fixture
def stubs(cluster, chosen):
    @contextlib.asynccontextmanager
    async def serve(synced=at_once):
        handlers = [
            Destination(chosen, cluster.views, synced).handler(),
            *Policy(chosen, cluster.views, synced).handlers(),
        ]
        async with (
            serving.serving(handlers, address="127.0.0.1:0") as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield Stubs(channel)

    return serve


def get(path=WEB, token=""):
    return destination_pb2.GetDestination(path=path, context_token=token)


def to(ip, port):
    return outbound_pb2.TrafficSpec(source_workload=WORKLOAD, addr=wire.address((ip, port)))


def test_endpoints_follow_the_cluster(shop, stubs, changed):
    async def scenario():
        async with stubs() as clients:
            stream = clients.destination.Get(get())
            first = await stream.read()
            assert [a.addr.port for a in first.add.addrs] == [8080]
            shop.apply(changed("slice", ("{ready: true}", "{ready: false}")))
            removal = await stream.read()
            assert [a.port for a in removal.remove.addrs] == [8080]
            shop.apply(changed("slice"))
            assert len((await stream.read()).add.addrs) == 1
            shop.delete(changed("service"))
            assert len((await stream.read()).remove.addrs) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("10.96.0.7:80", grpc.StatusCode.INVALID_ARGUMENT),
        ("[fd00::1]:80", grpc.StatusCode.INVALID_ARGUMENT),
        ("example.com:80", grpc.StatusCode.INVALID_ARGUMENT),
        ("web.shop.svc.cluster.local:x", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("gone.shop.svc.cluster.local:80", grpc.StatusCode.NOT_FOUND),
    ],
)
def test_refused_destinations(shop, stubs, path, code):
    async def scenario():
        async with stubs() as clients:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await clients.destination.Get(get(path)).read()
            assert refused.value.code() is code

    asyncio.run(scenario())


def test_profiles(shop, stubs):
    async def scenario():
        async with stubs() as clients:
            found = {}
            for path in (WEB, "10.96.0.7:80", "10.96.0.7:81", "10.244.0.9:8080", "192.0.2.1:80"):
                found[path] = await clients.destination.GetProfile(get(path)).read()
            name = "web.shop.svc.cluster.local"
            assert found[WEB].fully_qualified_name == name
            assert found["10.96.0.7:80"].fully_qualified_name == name
            assert found["10.96.0.7:81"] == destination_pb2.DestinationProfile()
            assert found["10.244.0.9:8080"].endpoint.tls_identity.dns_like_identity.name
            assert found["192.0.2.1:80"] == destination_pb2.DestinationProfile()

    asyncio.run(scenario())


def test_profile_turns_opaque(shop, stubs, changed):
    async def scenario():
        async with stubs() as clients:
            stream = clients.destination.GetProfile(get())
            assert not (await stream.read()).opaque_protocol
            noted = 'annotations: {config.linkerd.io/opaque-ports: "80"}'
            shop.apply(changed("service", ("annotations: {}", noted)))
            assert (await stream.read()).opaque_protocol

    asyncio.run(scenario())


def test_outbound_policy_turns_from_egress_to_service(cluster, stubs, changed):
    async def scenario():
        async with stubs() as clients:
            stream = clients.outbound.Watch(to("203.0.113.9", 80))
            assert (await stream.read()).metadata.default == "egress-fallback"
            cluster.apply(changed("service", ("10.96.0.7", "203.0.113.9")))
            assert (await stream.read()).metadata.resource.name == "web"

    asyncio.run(scenario())


def test_outbound_by_name(shop, stubs):
    async def scenario():
        async with stubs() as clients:
            request = outbound_pb2.TrafficSpec(source_workload="shop:web-1", authority=WEB)
            assert (await clients.outbound.Get(request)).metadata.resource.name == "web"
            request.authority = "gone.shop.svc.cluster.local:80"
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await clients.outbound.Get(request)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_of",
    [
        outbound_pb2.TrafficSpec,
        lambda: outbound_pb2.TrafficSpec(addr={"port": 80}),
        lambda: to("10.0.0.1", 0),
        lambda: outbound_pb2.TrafficSpec(source_workload="{", addr=wire.address(("10.0.0.1", 1))),
    ],
)
def test_refused_targets(stubs, request_of):
    async def scenario():
        async with stubs() as clients:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await clients.outbound.Watch(request_of()).read()
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())


def test_new_pod_is_waited_for(cluster, stubs, changed):
    async def scenario():
        async with stubs() as clients:
            stream = clients.inbound.WatchPort(inbound_pb2.PortSpec(workload=WORKLOAD, port=8080))
            reading = asyncio.ensure_future(stream.read())
            done, _ = await asyncio.wait([reading], timeout=0.05)
            assert not done
            cluster.apply(changed("pod"))
            assert (await reading).labels["kind"] == "default"

    asyncio.run(scenario())


def test_unknown_pod_is_not_found(stubs):
    async def scenario():
        async with stubs() as clients:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await clients.inbound.GetPort(inbound_pb2.PortSpec(workload=WORKLOAD, port=80))
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    asyncio.run(scenario())


def test_latest_wins(shop, stubs, changed):
    """A watcher that did not read meanwhile gets the last state, not the way to it."""

    async def scenario():
        async with stubs() as clients:
            stream = clients.outbound.Watch(to("10.96.0.7", 80))
            await stream.read()
            for protocol in ("http", "linkerd.io/tcp", "kubernetes.io/h2c"):
                shop.apply(changed("service", ("port: 80,", f"port: 80, appProtocol: {protocol},")))
            assert (await stream.read()).protocol.WhichOneof("kind") == "http2"

    asyncio.run(scenario())


def test_calls_wait_for_the_first_listing(shop, stubs):
    async def scenario():
        whole = asyncio.Event()
        async with stubs(whole.wait) as clients:
            reading = asyncio.ensure_future(clients.destination.Get(get()).read())
            done, _ = await asyncio.wait([reading], timeout=0.05)
            assert not done
            whole.set()
            assert (await reading).add.addrs

    asyncio.run(scenario())


def test_streams_end_when_the_process_ends(shop, stubs):
    async def scenario():
        async with stubs() as clients:
            stream = clients.destination.Get(get())
            await stream.read()
            shop.views.close()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK

    asyncio.run(scenario())


def test_views_are_forgotten_with_their_watchers(shop, stubs):
    async def scenario():
        async with stubs() as clients:
            streams = [clients.destination.Get(get()) for _ in range(3)]
            for stream in streams:
                await stream.read()
            assert (shop.views.watched, shop.views.watchers) == (1, 3)
            for stream in streams:
                stream.cancel()
        # Leaving the block ends every call, and the watches of a call end before it does.
        assert (shop.views.watched, shop.views.watchers) == (0, 0)

    asyncio.run(scenario())
