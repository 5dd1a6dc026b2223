"""Inbound policy, as Linkerd's inbound_api tests state it: YAML in, messages out."""

from __future__ import annotations

import dataclasses
import ipaddress

import grpc
import pytest
from google.protobuf import json_format

from reference_mesh.control_plane import wire
from reference_mesh.control_plane.policy import inbound
from reference_mesh.proto.gen import inbound_pb2

SERVER = """
kind: Server
metadata: {name: web-http, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z",
           labels: {tier: front}}
spec: {podSelector: {matchLabels: {app: web}}, port: http, proxyProtocol: HTTP/1}
"""
ALL_NETWORKS = [
    {"net": {"ip": {"ipv4": 0}}},
    {"net": {"ip": {"ipv6": {}}}},
]
EVERYTHING = {
    "metadata": {"default": "default"},
    "rules": [{"matches": [{"path": {"prefix": "/"}}]}],
}


def get(path):
    return {"path": {"exact": path}, "method": {"registered": "GET"}}


def probes(*paths):
    return {
        "metadata": {"default": "probe"},
        "authorizations": [
            {
                "networks": ALL_NETWORKS,
                "authentication": {"unauthenticated": {}},
                "labels": {"group": "", "kind": "default", "name": "probe"},
                "metadata": {"default": "probe"},
            }
        ],
        "rules": [{"matches": [get(path) for path in paths]}],
    }  # fmt: skip


def by_default(name, authentication, networks=ALL_NETWORKS):
    return {
        "networks": networks,
        "authentication": authentication,
        "labels": {"group": "", "kind": "default", "name": name},
        "metadata": {"default": name},
    }


def port(cluster, chosen, number=8080):
    answer = inbound.compile_port(cluster.reader(), "shop", "web-1", number, chosen)
    assert isinstance(answer, bytes), answer
    return json_format.MessageToDict(inbound_pb2.Server.FromString(answer))


def test_port_without_a_server(shop, chosen):
    assert port(shop, chosen) == {
        "protocol": {
            "detect": {"timeout": "10s", "httpRoutes": [EVERYTHING, probes("/healthz")]}
        },
        "authorizations": [by_default("all-unauthenticated", {"unauthenticated": {}})],
        "labels": {"group": "", "kind": "default", "name": "all-unauthenticated"},
    }  # fmt: skip


def test_admin_port_lets_the_kubelet_in(shop, chosen):
    routes = port(shop, chosen, 4191)["protocol"]["detect"]["httpRoutes"]
    assert routes == [EVERYTHING, probes("/live", "/ready")]


def test_port_that_nobody_declared(shop, chosen):
    assert port(shop, chosen, 9999)["protocol"]["detect"]["httpRoutes"] == [EVERYTHING]


def test_opaque_port(shop, chosen):
    assert port(shop, chosen, 3306)["protocol"] == {"opaque": {}}


def test_no_probe_networks_no_probe_routes(shop, chosen):
    chosen = dataclasses.replace(chosen, probe_networks=())
    assert port(shop, chosen)["protocol"]["detect"]["httpRoutes"] == [EVERYTHING]


ANY_IDENTITY = {"meshTLS": {"identities": {"suffixes": [{}]}}}
CLUSTER_10 = [{"net": {"ip": {"ipv4": 0x0A000000}, "prefixLen": 8}}]


@pytest.mark.parametrize(
    "case",
    [
        ("deny", []),
        ("all-authenticated", [by_default("all-authenticated", ANY_IDENTITY)]),
        ("audit", [by_default("audit", {"unauthenticated": {}})]),
        (
            "cluster-authenticated",
            [by_default("cluster-authenticated", ANY_IDENTITY, CLUSTER_10)],
        ),
        (
            "cluster-unauthenticated",
            [by_default("cluster-unauthenticated", {"unauthenticated": {}}, CLUSTER_10)],
        ),
    ],
)
@pytest.mark.parametrize("where", ["installation", "namespace", "pod", "server"])
def test_default_policies(shop, chosen, changed, case, where):
    policy, expected = case
    networks = (ipaddress.ip_network("10.0.0.0/8"),)
    chosen = dataclasses.replace(chosen, cluster_networks=networks)
    noted = f"annotations: {{config.linkerd.io/default-inbound-policy: {policy}}}"
    if where == "installation":
        chosen = dataclasses.replace(chosen, default_inbound_policy=policy)
    elif where == "namespace":
        shop.apply(f"kind: Namespace\nmetadata: {{name: shop, {noted}}}")
    elif where == "pod":
        shop.apply(changed("pod", ("labels:", f"{noted}\n  labels:")))
    else:
        shop.apply(SERVER.replace("HTTP/1}", f"HTTP/1, accessPolicy: {policy}}}"))
    assert port(shop, chosen).get("authorizations", []) == expected


def test_annotation_of_the_pod_beats_that_of_the_namespace(shop, chosen, changed):
    for kind, text in (("deny", "pod"), ("audit", "namespace")):
        noted = f"annotations: {{config.linkerd.io/default-inbound-policy: {kind}}}"
        if text == "pod":
            shop.apply(changed("pod", ("labels:", f"{noted}\n  labels:")))
        else:
            shop.apply(f"kind: Namespace\nmetadata: {{name: shop, {noted}}}")
    assert port(shop, chosen)["labels"]["name"] == "deny"


def test_unknown_default_policy_is_no_policy(shop, chosen, changed):
    noted = "annotations: {config.linkerd.io/default-inbound-policy: open}"
    shop.apply(changed("pod", ("labels:", f"{noted}\n  labels:")))
    assert port(shop, chosen)["labels"]["name"] == "all-unauthenticated"


def test_server_denies_who_is_not_authorized(shop, chosen):
    shop.apply(SERVER)
    assert port(shop, chosen) == {
        "protocol": {"http1": {"routes": [EVERYTHING, probes("/healthz")]}},
        "labels": {"group": "policy.linkerd.io", "kind": "server", "name": "web-http"},
    }


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ("unknown", "detect"),
        ("HTTP/1", "http1"),
        ("HTTP/2", "http2"),
        ("gRPC", "grpc"),
        ("opaque", "opaque"),
        ("TLS", "tls"),
    ],
)
def test_protocols(shop, chosen, protocol, kind):
    shop.apply(SERVER.replace("HTTP/1", protocol))
    assert list(port(shop, chosen)["protocol"]) == [kind]


def test_every_call_is_matched_by_an_rpc_without_names(shop, chosen):
    shop.apply(SERVER.replace("HTTP/1", "gRPC"))
    assert port(shop, chosen)["protocol"]["grpc"]["routes"] == [
        {"metadata": {"default": "default"}, "rules": [{"matches": [{"rpc": {}}]}]}
    ]


def test_access_policy_of_an_unknown_name_lets_nobody_in(shop, chosen):
    shop.apply(SERVER.replace("HTTP/1}", "HTTP/1, accessPolicy: all-unauthenticatd}"))
    assert "authorizations" not in port(shop, chosen)


def test_oldest_server_decides(shop, chosen):
    shop.apply(SERVER)
    shop.apply(SERVER.replace("web-http", "a-younger").replace("01-02", "01-03"))
    assert port(shop, chosen)["labels"]["name"] == "web-http"
    older = SERVER.replace("web-http", "z-older").replace("01-02", "01-01")
    shop.apply(older)
    assert port(shop, chosen)["labels"]["name"] == "z-older"
    shop.delete(older)
    assert port(shop, chosen)["labels"]["name"] == "web-http"


@pytest.mark.parametrize("other", ["port: 8081,", "port: grpc,"])
def test_server_of_another_port(shop, chosen, other):
    shop.apply(SERVER.replace("port: http,", other))
    assert port(shop, chosen)["labels"]["kind"] == "default"


def test_server_of_other_pods(shop, chosen):
    shop.apply(SERVER.replace("{app: web}", "{app: db}"))
    assert port(shop, chosen)["labels"]["kind"] == "default"


def server_authorization(client, server="{name: web-http}"):
    return f"""
kind: ServerAuthorization
metadata: {{name: allowed, namespace: shop}}
spec: {{server: {server}, client: {client}}}
"""


def only_authorization(cluster, chosen):
    (found,) = port(cluster, chosen)["authorizations"]
    return found


@pytest.mark.parametrize("server", ["{name: web-http}", "{selector: {matchLabels: {tier: front}}}"])
def test_server_authorization(shop, chosen, server):
    shop.apply(SERVER)
    shop.apply(
        server_authorization(
            "{networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}], unauthenticated: true}", server
        )
    )
    assert only_authorization(shop, chosen) == {
        "networks": [
            {
                "net": {"ip": {"ipv4": 0x0A000000}, "prefixLen": 8},
                "except": [{"ip": {"ipv4": 0x0A010000}, "prefixLen": 16}],
            }
        ],
        "authentication": {"unauthenticated": {}},
        "labels": {
            "group": "policy.linkerd.io", "kind": "serverauthorization", "name": "allowed",
        },
        "metadata": {
            "resource": {
                "group": "policy.linkerd.io",
                "kind": "serverauthorization",
                "name": "allowed",
                "namespace": "shop",
            }
        },
    }  # fmt: skip


def test_server_authorization_without_networks_is_for_the_cluster(shop, chosen):
    shop.apply(SERVER)
    shop.apply(server_authorization("{unauthenticated: true}"))
    networks = only_authorization(shop, chosen)["networks"]
    assert len(networks) == len(chosen.cluster_networks)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("{meshTLS: {unauthenticatedTLS: true}}", {"unauthenticated": {}}),
        ('{meshTLS: {identities: ["*"]}}', {"identities": {"suffixes": [{}]}}),
        (
            '{meshTLS: {identities: ["a.b", "*.c.d"]}}',
            {"identities": {"identities": [{"name": "a.b"}], "suffixes": [{"parts": ["c", "d"]}]}},
        ),
        (
            "{meshTLS: {serviceAccounts: [{name: cli}, {name: job, namespace: ops}]}}",
            {
                "identities": {
                    "identities": [
                        {"name": "cli.shop.serviceaccount.identity.linkerd.cluster.local"},
                        {"name": "job.ops.serviceaccount.identity.linkerd.cluster.local"},
                    ]
                }
            },
        ),
    ],
)
def test_clients_of_a_server_authorization(shop, chosen, client, expected):
    shop.apply(SERVER)
    shop.apply(server_authorization(client))
    assert only_authorization(shop, chosen)["authentication"] == {"meshTLS": expected}


@pytest.mark.parametrize("client", ["{}", "{meshTLS: {}}", "{networks: [{cidr: x}]}"])
def test_server_authorization_that_cannot_be_read_lets_nobody_in(shop, chosen, client):
    shop.apply(SERVER)
    shop.apply(server_authorization("{unauthenticated: true}"))
    shop.apply(server_authorization(client))
    assert "authorizations" not in port(shop, chosen)


@pytest.mark.parametrize("access_policy", ["cluster-authenticated", "cluster-unauthenticated"])
def test_networks_of_the_cluster_that_there_are_none_of(shop, chosen, access_policy):
    """An authorization without networks would make the whole policy invalid to a proxy."""
    chosen = dataclasses.replace(chosen, cluster_networks=())
    shop.apply(SERVER.replace("HTTP/1}", f"HTTP/1, accessPolicy: {access_policy}}}"))
    shop.apply(server_authorization("{unauthenticated: true}"))
    assert "authorizations" not in port(shop, chosen)


def policy(target, *required):
    return f"""
kind: AuthorizationPolicy
metadata: {{name: allowed, namespace: shop}}
spec:
  targetRef: {target}
  requiredAuthenticationRefs: [{", ".join(required)}]
---
kind: MeshTLSAuthentication
metadata: {{name: clients, namespace: shop}}
spec:
  identityRefs:
    - {{kind: ServiceAccount, name: cli}}
    - {{kind: Namespace, name: ops}}
---
kind: NetworkAuthentication
metadata: {{name: office, namespace: shop}}
spec: {{networks: [{{cidr: 192.0.2.0/24}}]}}
"""


OF_SERVER = "{group: policy.linkerd.io, kind: Server, name: web-http}"
OF_NAMESPACE = "{kind: Namespace, name: shop}"
MESH_TLS = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: clients}"
NETWORK = "{group: policy.linkerd.io, kind: NetworkAuthentication, name: office}"
CLIENTS = {
    "meshTLS": {
        "identities": {
            "identities": [{"name": "cli.shop.serviceaccount.identity.linkerd.cluster.local"}],
            "suffixes": [
                {"parts": ["ops", "serviceaccount", "identity", "linkerd", "cluster", "local"]}
            ],
        }
    }
}
OFFICE = [{"net": {"ip": {"ipv4": 0xC0000200}, "prefixLen": 24}}]


@pytest.mark.parametrize("target", [OF_SERVER, OF_NAMESPACE])
@pytest.mark.parametrize(
    "case",
    [
        ((MESH_TLS, NETWORK), OFFICE, CLIENTS),
        ((MESH_TLS,), ALL_NETWORKS, CLIENTS),
        ((NETWORK,), OFFICE, {"unauthenticated": {}}),
        ((), ALL_NETWORKS, {"unauthenticated": {}}),
    ],
)
def test_authorization_policy(shop, chosen, target, case):
    required, networks, authentication = case
    shop.apply(SERVER)
    shop.apply(policy(target, *required))
    found = only_authorization(shop, chosen)
    assert found["networks"] == networks
    assert found["authentication"] == authentication
    assert found["labels"]["kind"] == "authorizationpolicy"


def test_required_service_account(shop, chosen):
    shop.apply(SERVER)
    shop.apply(policy(OF_SERVER, "{kind: ServiceAccount, name: cli}"))
    permitted = only_authorization(shop, chosen)["authentication"]["meshTLS"]["identities"]
    assert permitted == {"identities": CLIENTS["meshTLS"]["identities"]["identities"]}


@pytest.mark.parametrize(
    ("target", "required"),
    [
        (OF_SERVER.replace("web-http", "other"), (MESH_TLS,)),
        (OF_NAMESPACE.replace("shop", "ops"), (MESH_TLS,)),
        (OF_SERVER, (MESH_TLS.replace("clients", "missing"),)),
        (OF_SERVER, (NETWORK.replace("office", "missing"),)),
        (OF_SERVER, (MESH_TLS, MESH_TLS)),
        (OF_SERVER, ("{kind: Secret, name: x}",)),
    ],
)
def test_authorization_policy_that_lets_nobody_in(shop, chosen, target, required):
    shop.apply(SERVER)
    shop.apply(policy(target, *required))
    assert "authorizations" not in port(shop, chosen)


def test_authentications_that_come_and_go(shop, chosen):
    """What a policy refers to may be created after it, and lets in nobody once it is deleted."""
    shop.apply(SERVER)
    documents = policy(OF_SERVER, MESH_TLS).split("---")
    shop.apply(documents[0])
    assert "authorizations" not in port(shop, chosen)
    shop.apply(documents[1])
    assert only_authorization(shop, chosen)["authentication"] == CLIENTS
    shop.delete(documents[1])
    assert "authorizations" not in port(shop, chosen)


def test_unknown_pod(cluster, chosen):
    answer = inbound.compile_port(cluster.reader(), "shop", "web-1", 80, chosen)
    assert isinstance(answer, wire.Refusal)
    assert answer.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("policy_name", "expected"),
    [
        ("all-unauthenticated", "all-authenticated"),
        ("cluster-unauthenticated", "cluster-authenticated"),
        ("deny", "deny"),
    ],
)
def test_port_that_demands_an_identity(shop, chosen, changed, policy_name, expected):
    chosen = dataclasses.replace(chosen, default_inbound_policy=policy_name)
    noted = 'config.linkerd.io/proxy-require-identity-inbound-ports: "8080"'
    shop.apply(changed("pod", ("labels:", f"annotations: {{{noted}}}\n  labels:")))
    assert port(shop, chosen)["labels"]["name"] == expected
    assert port(shop, chosen, 8081)["labels"]["name"] == policy_name
