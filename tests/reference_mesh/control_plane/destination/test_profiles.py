"""Profiles: ServiceProfiles as Linkerd reads them, and whose of them counts."""

from __future__ import annotations

import pytest
from google.protobuf import json_format

from reference_mesh.control_plane.destination import profiles
from reference_mesh.control_plane.policy import outbound
from reference_mesh.control_plane.targets import Caller
from reference_mesh.proto.gen import destination_pb2, outbound_pb2

PROFILE = """
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
    - name: GET /books
      condition: {method: GET, pathRegex: "/books/\\\\d+"}
      isRetryable: true
      timeout: 300ms
      responseClasses:
        - condition: {status: {min: 500, max: 599}}
          isFailure: true
    - name: others
      condition: {any: [{method: PURGE}, {not: {pathRegex: /a}}]}
  retryBudget: {retryRatio: 0.5, minRetriesPerSecond: 3, ttl: 30s}
  dstOverrides:
    - {authority: web-v1.shop.svc.cluster.local, weight: 900m}
    - {authority: "web-v2.shop.svc.cluster.local:8080", weight: "100m"}
"""


def profile(cluster, chosen, caller=None):
    answer = profiles.compile_profile(
        cluster.reader(), "10.96.0.7:80", caller or Caller("client"), chosen
    )
    return json_format.MessageToDict(destination_pb2.DestinationProfile.FromString(answer))


def test_service_without_a_profile(shop, chosen):
    assert profile(shop, chosen) == {
        "fullyQualifiedName": "web.shop.svc.cluster.local",
        "retryBudget": {"retryRatio": pytest.approx(0.2), "minRetriesPerSecond": 10, "ttl": "10s"},
        "parentRef": {
            "resource": {
                "group": "core", "kind": "Service", "name": "web", "namespace": "shop", "port": 80,
            }
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("app_protocol", "is_opaque"),
    [("linkerd.io/opaque", True), ("linkerd.io/tcp", True), ("http", False), ("mysql", False)],
)
def test_profile_and_policy_agree_on_what_is_opaque(shop, chosen, changed, app_protocol, is_opaque):
    shop.apply(changed("service", ("port: 80,", f"port: 80, appProtocol: {app_protocol},")))
    answer = outbound.policy_at(shop.reader(), ("10.96.0.7", 80), chosen)
    kind = outbound_pb2.OutboundPolicy.FromString(answer).protocol.WhichOneof("kind")
    assert profile(shop, chosen).get("opaqueProtocol", False) is is_opaque is (kind == "opaque")


def test_service_profile(shop, chosen):
    shop.apply(PROFILE)
    made = profile(shop, chosen)
    assert made["routes"] == [
        {
            "condition": {
                "all": {
                    "matches": [
                        {"path": {"regex": "/books/\\d+"}},
                        {"method": {"registered": "GET"}},
                    ]
                }
            },
            "responseClasses": [
                {"condition": {"status": {"min": 500, "max": 599}}, "isFailure": True}
            ],
            "metricsLabels": {"route": "GET /books"},
            "isRetryable": True,
            "timeout": "0.300s",
        },
        {
            "condition": {
                "any": {
                    "matches": [
                        {"method": {"unregistered": "PURGE"}},
                        {"not": {"path": {"regex": "/a"}}},
                    ]
                }
            },
            "metricsLabels": {"route": "others"},
        },
    ]
    assert made["retryBudget"] == {"retryRatio": 0.5, "minRetriesPerSecond": 3, "ttl": "30s"}
    assert made["dstOverrides"] == [
        {"authority": "web-v1.shop.svc.cluster.local:80", "weight": 9000},
        {"authority": "web-v2.shop.svc.cluster.local:8080", "weight": 1000},
    ]


def test_profile_of_the_client_beats_that_of_the_service(shop, chosen):
    shop.apply(PROFILE)
    own = PROFILE.replace("namespace: shop", "namespace: client")
    shop.apply(own.replace("GET /books", "mine"))
    names = [route["metricsLabels"]["route"] for route in profile(shop, chosen)["routes"]]
    assert names[0] == "mine"
    others = profile(shop, chosen, Caller("elsewhere"))["routes"]
    assert others[0]["metricsLabels"]["route"] == "GET /books"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{method: GET, pathRegex: "/books/\\\\d+"}', "{}"),
        ("300ms", "soon"),
        ("900m", "much"),
        ("weight: 900m", "weight: -1"),
        ("{status: {min: 500, max: 599}}", "{}"),
        ("ttl: 30s", "ttl: x"),
    ],
)
def test_profile_that_cannot_be_read_counts_as_absent(shop, chosen, old, new):
    assert old in PROFILE
    shop.apply(PROFILE.replace(old, new))
    assert "routes" not in profile(shop, chosen)
