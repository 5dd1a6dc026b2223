"""The processes as they run: flags, start, work and end, against the embedded API server."""

from __future__ import annotations

import socket
import subprocess
import sys

import grpc
import pytest

from harness.waiting import until
from reference_mesh.control_plane import wire
from reference_mesh.proto.gen import (
    destination_pb2,
    destination_pb2_grpc,
    identity_pb2_grpc,
    outbound_pb2,
    outbound_pb2_grpc,
)

pytestmark = pytest.mark.cluster

DESTINATION_PORTS = ("addr", "policy_addr", "validator_addr")


def test_identity(api, start, certify):
    """A call made before there is an issuer is held, and answered once there is one."""
    with (
        start("identity", ports=("addr",)) as identity,
        grpc.insecure_channel(f"127.0.0.1:{identity.ports['addr']}") as channel,
    ):
        stub = identity_pb2_grpc.IdentityStub(channel)
        held = stub.Certify.future(certify, wait_for_ready=True, timeout=10)
        until(lambda: "certify_total" in identity.metrics(), what="identity serves", timeout_s=10)
        assert not held.done()
        assert not identity.ready()
        api.plant_issuer()
        assert held.result().leaf_certificate
        assert identity.ready()

        certify.token = api.token("shop", "web").encode()
        with pytest.raises(grpc.RpcError) as refused:
            stub.Certify(certify, timeout=10)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert events(api)[0]["reason"] == "IssuedLeafCertificate"


def events(api):
    return until(
        lambda: api.get("/api/v1/namespaces/linkerd/events").json()["items"],
        what="event of a certificate",
        timeout_s=5,
    )


def test_destination(api, start, trusted, tmp_path):
    """Watches follow the cluster, with none of the mesh's own kinds installed."""
    web = {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}
    api.make("/api/v1/namespaces/shop/services", "Service", "web", spec=web)
    with (
        start("destination", f"--tls-dir={tmp_path}", ports=DESTINATION_PORTS) as destination,
        grpc.insecure_channel(f"127.0.0.1:{destination.ports['addr']}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{destination.ports['policy_addr']}") as policy_channel,
    ):
        until(destination.ready, what="destination ready", timeout_s=10)
        updates = destination_pb2_grpc.DestinationStub(channel).Get(
            destination_pb2.GetDestination(path="web.shop.svc.cluster.local:80"), timeout=10
        )
        assert next(updates).no_endpoints.exists
        api.add(
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"port": 8080}],
                "endpoints": [{"addresses": ["10.244.0.9"]}],
            },
        )
        assert [address.addr.port for address in next(updates).add.addrs] == [8080]
        watch = outbound_pb2_grpc.OutboundPoliciesStub(policy_channel).Watch(
            outbound_pb2.TrafficSpec(
                source_workload="shop:web", addr=wire.address(("10.96.0.7", 80))
            ),
            timeout=10,
        )
        assert next(watch).metadata.resource.name == "web"
        validator = destination.ports["validator_addr"]
        until(lambda: handshake(validator, trusted), what="validator serves", timeout_s=10)


def handshake(port, context) -> bool:
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 64, "COMPONENT is one of"),
        (["identity", "--config=/nowhere/values"], 1, "is ConfigMap linkerd-config mounted?"),
    ],
)
def test_what_cannot_start(arguments, code, message):
    ended = subprocess.run(
        [sys.executable, "-m", "reference_mesh.control_plane", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
