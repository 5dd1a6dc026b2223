"""What clients are told of endpoints: the rules of Linkerd's endpoint translator."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import json_format

from reference_mesh.control_plane.destination import updates
from reference_mesh.control_plane.destination.endpoints import compile_endpoints
from reference_mesh.control_plane.targets import Caller, ServiceTarget

IDENTITY = "web.shop.serviceaccount.identity.linkerd.cluster.local"
WHERE = ("10.244.0.9", 8080)


ANYBODY = Caller()


def told(cluster, chosen, port=80, caller=ANYBODY, hostname=None):
    target = ServiceTarget("shop", "web", port, hostname)
    endpoints = compile_endpoints(cluster.reader(), target, caller, chosen)
    return {
        where: json_format.MessageToDict(message) for where, message in endpoints.addresses.items()
    }


def test_meshed_pod(shop, chosen):
    assert told(shop, chosen) == {
        WHERE: {
            "addr": {"ip": {"ipv4": 0x0AF40009}, "port": 8080},
            "weight": 10000,
            "metricLabels": {
                "pod": "web-1",
                "deployment": "web",
                "serviceaccount": "web",
                "control_plane_ns": "linkerd",
                "pod_template_hash": "abc",
                "zone": "z1",
                "zone_locality": "unknown",
            },
            "tlsIdentity": {
                "dnsLikeIdentity": {"name": IDENTITY},
                "serverName": {"name": IDENTITY},
            },
            "protocolHint": {"h2": {}, "opaqueTransport": {"inboundPort": 4143}},
            "http2": {"keepAlive": {"interval": "10s", "timeout": "3s", "whileIdle": True}},
            "resourceRef": {
                "resource": {
                    "group": "core", "kind": "Pod", "name": "web-1", "namespace": "shop",
                }
            },
        }
    }  # fmt: skip


def test_unmeshed_pod_has_neither_identity_nor_hint(shop, chosen, changed):
    shop.apply(changed("pod", ("linkerd.io/control-plane-ns: linkerd, ", "")))
    endpoint = told(shop, chosen)[WHERE]
    assert "tlsIdentity" not in endpoint
    assert "protocolHint" not in endpoint


def test_pod_of_another_control_plane_has_no_identity(shop, chosen, changed):
    shop.apply(changed("pod", ("control-plane-ns: linkerd", "control-plane-ns: other")))
    endpoint = told(shop, chosen)[WHERE]
    assert "tlsIdentity" not in endpoint
    assert endpoint["protocolHint"] == {"h2": {}, "opaqueTransport": {"inboundPort": 4143}}


def test_port_that_bypasses_the_sidecar(shop, chosen, changed):
    noted = 'annotations: {config.linkerd.io/skip-inbound-ports: "8000-8090"}\n  labels:'
    shop.apply(changed("pod", ("labels:", noted)))
    endpoint = told(shop, chosen)[WHERE]
    assert "tlsIdentity" not in endpoint
    assert "protocolHint" not in endpoint


def test_opaque_port_of_the_pod(shop, chosen, changed):
    noted = 'annotations: {config.linkerd.io/opaque-ports: "8080"}\n  labels:'
    shop.apply(changed("pod", ("labels:", noted)))
    hint = told(shop, chosen)[WHERE]["protocolHint"]
    assert hint == {"opaque": {}, "opaqueTransport": {"inboundPort": 4143}}


def test_server_makes_a_port_opaque(shop, chosen):
    shop.apply(
        """
        kind: Server
        metadata: {name: web, namespace: shop}
        spec: {podSelector: {matchLabels: {app: web}}, port: http, proxyProtocol: opaque}
        """
    )
    assert "opaque" in told(shop, chosen)[WHERE]["protocolHint"]


def test_admin_port_is_reached_directly(shop, chosen):
    endpoint = told(shop, chosen, port=4191)["10.244.0.9", 4191]
    assert endpoint["protocolHint"] == {"h2": {}}
    assert endpoint["tlsIdentity"]["serverName"] == {"name": IDENTITY}


def test_zone_of_the_caller(shop, chosen):
    shop.apply("kind: Node\nmetadata: {name: n, labels: {topology.kubernetes.io/zone: z1}}")
    shop.apply("kind: Node\nmetadata: {name: m, labels: {topology.kubernetes.io/zone: z2}}")
    for node, locality in (("n", "local"), ("m", "remote"), ("gone", "unknown")):
        labels = told(shop, chosen, caller=Caller(node=node))[WHERE]["metricLabels"]
        assert labels["zone_locality"] == locality


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("slice", ("{ready: true}", "{ready: false}")),
        ("slice", ("{ready: true}", "{ready: true, terminating: true}")),
        ("pod", ("name: web-1", "name: web-1\n  deletionTimestamp: 2026-01-01T00:00:00Z")),
        ("pod", ("phase: Running", "phase: Succeeded")),
        ("pod", ("podIP: 10.244.0.9", "podIP: 10.244.0.10")),
        ("slice", ("name: web-1", "name: not-known-yet")),
    ],
)
def test_endpoints_that_must_not_be_used(shop, chosen, changed, which, change):
    shop.apply(changed(which, change))
    assert told(shop, chosen) == {}


def test_endpoint_without_a_pod_is_plain(shop, chosen, changed):
    shop.apply(changed("slice", ("targetRef: {kind: Pod, name: web-1}", "hostname: a")))
    endpoint = told(shop, chosen)[WHERE]
    assert set(endpoint) == {"addr", "weight", "metricLabels"}


def test_hostname_names_one_endpoint(shop, chosen, changed):
    shop.apply(changed("slice", ("zone: z1", "hostname: web-1")))
    assert list(told(shop, chosen, hostname="web-1")) == [WHERE]
    assert told(shop, chosen, hostname="web-2") == {}


def test_unknown_service(cluster, chosen):
    target = ServiceTarget("shop", "web", 80)
    refusal = compile_endpoints(cluster.reader(), target, Caller(), chosen)
    assert refusal.code is grpc.StatusCode.NOT_FOUND


def test_differences_remove_before_they_add(shop, chosen, changed):
    target = ServiceTarget("shop", "web", 80)
    old = compile_endpoints(shop.reader(), target, Caller(), chosen)
    shop.apply(changed("pod", ("10.244.0.9", "10.244.0.10")))
    shop.apply(changed("slice", ("10.244.0.9", "10.244.0.10")))
    new = compile_endpoints(shop.reader(), target, Caller(), chosen)
    removal, addition = updates.difference(old, new)
    assert [address.ip.ipv4 for address in removal.remove.addrs] == [0x0AF40009]
    assert [weighted.addr.ip.ipv4 for weighted in addition.add.addrs] == [0x0AF4000A]
    assert dict(addition.add.metric_labels) == {"namespace": "shop", "service": "web"}
    assert updates.difference(new, new) == []


def test_first_message_says_when_there_is_nobody(cluster, chosen, changed):
    cluster.apply(changed("service"))
    target = ServiceTarget("shop", "web", 80)
    nobody = compile_endpoints(cluster.reader(), target, Caller(), chosen)
    assert updates.first(nobody).no_endpoints.exists
