"""The pages that show over HTTP what the gRPC services would answer."""

from __future__ import annotations

import json
import urllib.parse

import pytest

from reference_mesh.control_plane.admin import Admin
from reference_mesh.control_plane.inspection import Inspection


def page(cluster, chosen, path, **query):
    found = Inspection(cluster.snapshot, chosen).page(path, urllib.parse.urlencode(query))
    assert found is not None
    return found[0], json.loads(found[1])


def test_endpoints_of_a_service(shop, chosen):
    status, body = page(shop, chosen, "/endpoints", authority="web.shop.svc.cluster.local:80")
    assert status == 200
    assert body["labels"] == {"namespace": "shop", "service": "web"}
    assert [(item["ip"], item["port"]) for item in body["endpoints"]] == [("10.244.0.9", 8080)]


def test_profile_of_a_service(shop, chosen):
    status, body = page(shop, chosen, "/profile", authority="web.shop.svc.cluster.local:80")
    assert status == 200
    assert body["fullyQualifiedName"] == "web.shop.svc.cluster.local"


def test_policy_by_port_address_and_name(shop, chosen):
    inbound = page(shop, chosen, "/policy", workload="shop:web-1", port=8080)
    assert inbound[1]["labels"]["name"] == "all-unauthenticated"
    by_address = page(shop, chosen, "/policy", address="10.96.0.7:80")
    by_name = page(shop, chosen, "/policy", authority="web.shop.svc.cluster.local:80")
    assert by_address == by_name
    assert by_name[0] == 200


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/endpoints", {}, 400),
        ("/endpoints", {"authority": "10.0.0.1:80"}, 400),
        ("/endpoints", {"authority": "gone.shop.svc.cluster.local:80"}, 404),
        ("/policy", {"workload": "nobody", "port": "80"}, 400),
        ("/policy", {"workload": "shop:web-1", "port": "x"}, 400),
        ("/policy", {"address": "web:80"}, 400),
    ],
)
def test_refusal_says_why(shop, chosen, path, query, status):
    answered, body = page(shop, chosen, path, **query)
    assert answered == status
    assert body["error"]


def test_admin_port_serves_them(shop, chosen):
    inspection = Inspection(shop.snapshot, chosen)
    admin = Admin(ready=lambda: True, metrics=str, page=inspection.page)
    status, content_type, _ = admin.answer("GET", "/endpoints", "authority=nonsense")
    assert (status, content_type) == ("400 Bad Request", "application/json")
    assert admin.answer("GET", "/elsewhere")[0] == "404 Not Found"
