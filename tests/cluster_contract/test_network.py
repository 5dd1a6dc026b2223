"""Addresses, names and services, as pods see them."""

from __future__ import annotations

import pytest
from lightkube.resources.core_v1 import Endpoints, Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from harness.waiting import until

pytestmark = pytest.mark.cluster

IMAGE = "meshmark.dev/contract:1"

ECHO = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{socket.gethostname()} {self.client_address[0]}\\n".encode())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
FETCH = """
import sys, time, urllib.request
for url in sys.argv[1:]:
    began = time.monotonic()
    try:
        said = urllib.request.urlopen(url, timeout=5).read().decode().strip()
    except OSError as error:
        said = str(error)
    print(url, "|", said, "|", round(time.monotonic() - began, 3))
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {role: echo}
  ports: [{name: http, port: 80, targetPort: web}]
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec:
  clusterIP: None
  selector: {role: echo}
  ports: [{name: http, port: 8080}]
"""


@pytest.fixture
def echoes(bench):
    """Two ready pods behind the services `echo` and, headless, `each`."""
    bench.apply(SERVICE)
    for name in ("one", "two"):
        serve(bench, name)
    bench.ready("one", "two")
    until(
        lambda: ready_addresses(bench, "echo"),
        what="two endpoints",
        timeout_s=10,
        interval_s=0.02,
        holds=lambda addresses: len(addresses) == 2,
    )
    return bench


def serve(bench, name: str) -> None:
    bench.pod(
        name,
        "",
        labels={"role": "echo"},
        container={
            "command": ["python3", "-c", ECHO],
            "args": [],
            "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"port": "web"}},
        },
    )


def fetch(bench, name: str, *urls: str) -> list[list[str]]:
    said = bench.output(
        name, "", container={"command": ["python3", "-c", FETCH, *urls], "args": []}
    )
    return [[word.strip() for word in line.split("|")] for line in said.splitlines()]


def ready_addresses(bench, service: str) -> list[str]:
    labels = {"kubernetes.io/service-name": service}
    slices = bench.client.list(EndpointSlice, namespace=bench.namespace, labels=labels)
    return sorted(
        endpoint.addresses[0]
        for each in slices
        for endpoint in each.endpoints or ()
        if endpoint.conditions.ready
    )


def test_a_service_reaches_each_of_its_pods(echoes) -> None:
    answers = fetch(echoes, "client", *["http://echo/"] * 40)

    assert {each[1].split()[0] for each in answers} == {"one", "two"}


def test_the_caller_keeps_its_address(echoes) -> None:
    [[_, said, _]] = fetch(echoes, "client", "http://echo/")

    assert said.split()[1] == echoes.show("client").status.podIP


def test_a_pod_reaches_itself_through_its_service(echoes) -> None:
    echoes.client.delete(Pod, "two", namespace=echoes.namespace)
    until(lambda: len(ready_addresses(echoes, "echo")) == 1, what="one endpoint", timeout_s=10)
    echoes.pod(
        "self",
        "",
        labels={"role": "lonely"},
        container={
            "command": ["python3", "-c", f"import threading\n{SELF.strip()}"],
            "args": [],
        },
    )
    echoes.apply("""
apiVersion: v1
kind: Service
metadata: {name: lonely}
spec:
  selector: {role: lonely}
  ports: [{port: 80, targetPort: 8080}]
""")

    assert "through myself" in echoes.says("self", "through")


SELF = """
import http.server, time, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"through myself")
server = http.server.ThreadingHTTPServer(("", 8080), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while True:
    try:
        print(urllib.request.urlopen("http://lonely/", timeout=1).read().decode(), flush=True)
        time.sleep(1000)
    except OSError:
        time.sleep(0.1)
"""


REFUSED = """
import time, urllib.request
while True:
    try:
        urllib.request.urlopen("http://nobody/", timeout=1)
    except OSError as error:
        print(error, flush=True)
    time.sleep(0.1)
"""


def test_what_is_not_there_is_refused(echoes) -> None:
    echoes.apply("""
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {role: nobody}
  ports: [{port: 80}]
""")
    # A node hears of a service that is new a moment later.
    echoes.pod("caller", "", container={"command": ["python3", "-c", REFUSED], "args": []})
    echoes.says("caller", "refused")
    [[_, said, _]] = fetch(echoes, "client", "http://missing/")

    assert "not known" in said


def test_names_resolve_as_the_specification_says(echoes) -> None:
    name = echoes.namespace
    said = echoes.output(
        "resolver",
        "",
        container={
            "command": [
                "python3",
                "-c",
                (
                    "import socket, sys\n"
                    "for name in sys.argv[1:]:\n"
                    "    found = socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)\n"
                    "    print(*sorted(each[4][0] for each in found))"
                ),
                "echo",
                f"echo.{name}",
                f"echo.{name}.svc.cluster.local",
                "each",
            ],
            "args": [],
        },
    )
    lines = said.splitlines()
    address = echoes.client.get(Service, "echo", namespace=name).spec.clusterIP

    assert lines[:3] == [address] * 3
    assert lines[3].split() == ready_addresses(echoes, "each")


def test_the_original_destination_survives_a_redirection(echoes) -> None:
    """What transparent proxies live from: REDIRECT in the pod, SO_ORIGINAL_DST at the listener."""
    listener = (
        "import socket, struct, sys\n"
        "server = socket.create_server(('', 4140))\n"
        "print('up', flush=True)\n"
        "connection, _ = server.accept()\n"
        "raw = connection.getsockopt(0, 80, 16)\n"
        "print(socket.inet_ntoa(raw[4:8]), struct.unpack('>H', raw[2:4])[0], flush=True)\n"
    )
    echoes.pod(
        "redirected",
        "python3 -c 'import socket, time; time.sleep(0.3); "
        'socket.create_connection(("echo", 80)); time.sleep(1000)\'',
        initContainers=[
            {
                "name": "rules",
                "image": IMAGE,
                "command": [
                    "iptables-nft", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "80",
                    "-j", "REDIRECT", "--to-ports", "4140",
                ],
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
            },
            {
                "name": "proxy",
                "image": IMAGE,
                "command": ["python3", "-c", listener + "import time; time.sleep(1000)"],
                "restartPolicy": "Always",
            },
        ],
    )  # fmt: skip
    address = echoes.client.get(Service, "echo", namespace=echoes.namespace).spec.clusterIP

    assert f"{address} 80" in echoes.says("redirected", " 80", "proxy")


def test_net_admin_ends_at_the_pod(bench) -> None:
    said = bench.output(
        "curious",
        "nft list ruleset | wc -l; ls /sys/class/net | tr '\\n' ' '",
        container={"securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}},
    )

    assert said.split() == ["0", "eth0", "lo"]


def test_endpoints_follow_their_pods(echoes) -> None:
    name = echoes.namespace
    old = echoes.client.get(Endpoints, "echo", namespace=name)
    addresses = [each.ip for each in old.subsets[0].addresses]

    assert sorted(addresses) == ready_addresses(echoes, "echo")
    assert old.subsets[0].ports[0].port == 8080

    echoes.client.delete(Pod, "one", namespace=name)
    until(
        lambda: ready_addresses(echoes, "echo"),
        what="one endpoint left",
        timeout_s=10,
        interval_s=0.02,
        holds=lambda left: left == [echoes.show("two").status.podIP],
    )


def test_the_harness_reaches_a_pod_through_the_api(echoes) -> None:
    with echoes.cluster.pod_http(echoes.namespace, "one", 8080) as http:
        answer = http.get("/anything")

    assert answer.status_code == 200
    assert answer.text.startswith("one ")
