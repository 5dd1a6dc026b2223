"""Outbound policy, as Linkerd's outbound_api tests state it: YAML in, messages out."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import json_format

from reference_mesh.control_plane import wire
from reference_mesh.control_plane.policy import outbound
from reference_mesh.proto.gen import outbound_pb2

WEB = ("10.96.0.7", 80)

SERVICE_METADATA = {
    "resource": {
        "group": "core", "kind": "Service", "name": "web", "namespace": "shop", "port": 80,
    }
}  # fmt: skip
BALANCER = {
    "metadata": SERVICE_METADATA,
    "balancer": {
        "discovery": {"dst": {"path": "web.shop.svc.cluster.local:80"}},
        "peakEwma": {"defaultRtt": "0.030s", "decay": "10s"},
    },
    "queue": {"capacity": 100, "failfastTimeout": "3s"},
}
HTTP_ROUTES = [
    {
        "metadata": {"default": "http"},
        "rules": [
            {
                "matches": [{"path": {"prefix": "/"}}],
                "backends": {"firstAvailable": {"backends": [{"backend": BALANCER}]}},
            }
        ],
    }
]
OPAQUE_ROUTES = [
    {
        "metadata": {"default": "opaq"},
        "rules": [{"backends": {"firstAvailable": {"backends": [{"backend": BALANCER}]}}}],
    }
]


def policy(cluster, where, chosen):
    answer = outbound.policy_at(cluster.reader(), where, chosen)
    assert isinstance(answer, bytes), answer
    return json_format.MessageToDict(outbound_pb2.OutboundPolicy.FromString(answer))


def test_service_without_routes_is_detected_and_balanced(shop, chosen):
    assert policy(shop, WEB, chosen) == {
        "metadata": SERVICE_METADATA,
        "protocol": {
            "detect": {
                "timeout": "10s",
                "opaque": {"routes": OPAQUE_ROUTES},
                "http1": {"routes": HTTP_ROUTES},
                "http2": {"routes": HTTP_ROUTES},
            }
        },
    }


@pytest.mark.parametrize(
    ("app_protocol", "expected"),
    [
        ("http", {"http1": {"routes": HTTP_ROUTES}}),
        ("kubernetes.io/h2c", {"http2": {"routes": HTTP_ROUTES}}),
        ("linkerd.io/opaque", {"opaque": {"routes": OPAQUE_ROUTES}}),
        ("linkerd.io/tcp", {"opaque": {"routes": OPAQUE_ROUTES}}),
    ],
)
def test_app_protocol_replaces_detection(cluster, chosen, changed, app_protocol, expected):
    cluster.apply(changed("service", ("port: 80,", f"port: 80, appProtocol: {app_protocol},")))
    assert policy(cluster, WEB, chosen)["protocol"] == expected


def test_unknown_app_protocol_is_detected(cluster, chosen, changed):
    cluster.apply(changed("service", ("port: 80,", "port: 80, appProtocol: example.com/x,")))
    assert list(policy(cluster, WEB, chosen)["protocol"]) == ["detect"]


@pytest.mark.parametrize("where", ["service", "namespace"])
def test_opaque_ports_annotation(cluster, chosen, changed, where):
    annotated = '{config.linkerd.io/opaque-ports: "70-90"}'
    if where == "service":
        cluster.apply(changed("service", ("annotations: {}", f"annotations: {annotated}")))
    else:
        cluster.apply(changed("service"))
        cluster.apply(f"kind: Namespace\nmetadata: {{name: shop, annotations: {annotated}}}")
    assert policy(cluster, WEB, chosen)["protocol"] == {"opaque": {"routes": OPAQUE_ROUTES}}


def test_annotation_of_the_service_replaces_the_default_opaque_ports(cluster, chosen, changed):
    mysql = changed("service", ("port: 80,", "port: 3306,"))
    cluster.apply(mysql)
    assert list(policy(cluster, ("10.96.0.7", 3306), chosen)["protocol"]) == ["opaque"]
    noted = 'annotations: {config.linkerd.io/opaque-ports: ""}'
    cluster.apply(mysql.replace("annotations: {}", noted))
    assert list(policy(cluster, ("10.96.0.7", 3306), chosen)["protocol"]) == ["detect"]


def test_undefined_port_is_forbidden(shop, chosen):
    assert policy(shop, ("10.96.0.7", 81), chosen) == {
        "metadata": {"resource": {**SERVICE_METADATA["resource"], "port": 81}},
        "protocol": {
            "opaque": {
                "routes": [
                    {
                        "metadata": {"default": "undefined-port"},
                        "rules": [{"backends": {"empty": {}}, "filters": [{"forbidden": {}}]}],
                    }
                ]
            }
        },
    }


def test_address_outside_of_the_cluster_is_forwarded_to(cluster, chosen):
    made = policy(cluster, ("203.0.113.5", 443), chosen)
    assert made["metadata"] == {"default": "egress-fallback"}
    routes = made["protocol"]["detect"]["opaque"]["routes"]
    backend = routes[0]["rules"][0]["backends"]["firstAvailable"]["backends"][0]["backend"]
    assert backend["forward"] == {
        "addr": {"ip": {"ipv4": 0xCB007105}, "port": 443},
        "weight": 1,
    }


@pytest.mark.parametrize("address", ["10.96.9.9", "10.244.0.9"])
def test_no_policy_is_told_of_what_is_no_service(shop, chosen, address):
    """Nor of a pod, as by Linkerd's controller: its profile tells who it is, and goes on."""
    answer = outbound.policy_at(shop.reader(), (address, 8080), chosen)
    assert isinstance(answer, wire.Refusal)
    assert answer.code is grpc.StatusCode.NOT_FOUND


def test_everything_that_a_real_proxy_insists_on_is_there(shop, chosen):
    """A policy that lacks one of these makes linkerd2-proxy answer every request with 500."""
    for where in (WEB, ("10.96.0.7", 81), ("203.0.113.5", 443)):
        answer = outbound.policy_at(shop.reader(), where, chosen)
        message = outbound_pb2.OutboundPolicy.FromString(answer)
        assert message.metadata.WhichOneof("kind")
        kind = message.protocol.WhichOneof("kind")
        part = getattr(message.protocol, kind)
        arms = [part.opaque, part.http1, part.http2] if kind == "detect" else [part]
        for route in (route for arm in arms for route in arm.routes):
            assert route.metadata.WhichOneof("kind")
            for rule in route.rules:
                distribution = rule.backends.WhichOneof("kind")
                assert distribution
                if distribution == "first_available":
                    assert_whole(rule.backends.first_available.backends)


def assert_whole(backends):
    assert backends
    for backend in (entry.backend for entry in backends):
        assert backend.metadata.WhichOneof("kind")
        assert backend.queue.failfast_timeout.ToTimedelta().total_seconds() > 0
        if backend.WhichOneof("kind") == "balancer":
            assert backend.balancer.discovery.dst.path
            assert backend.balancer.peak_ewma.HasField("default_rtt")
            assert backend.balancer.peak_ewma.HasField("decay")
