"""
A real Prometheus reads what a real proxy exposes.

Its image is made of Debian's package unless MESHMARK_PROMETHEUS_IMAGE names another, such as
`prom/prometheus`. It scrapes through the API server's pod proxy, on loopback.
"""

from __future__ import annotations

import base64
import os
import socket
from typing import TYPE_CHECKING, Any

import docker
import httpx2
import pytest
import yaml
from testcontainers.core.container import DockerContainer

from harness.cluster import Image, embedded
from harness.cluster.images import archived
from harness.mesh.protocol import MeshOptions
from harness.mesh.reference import ReferenceMesh
from harness.waiting import until
from harness.workload import image as workload_image
from harness.workload.plans import Plan
from suites.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suites.member import Member

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

REQUESTS = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Member]:
    """A meshed pod whose proxy has passed on some requests."""
    mesh = ReferenceMesh()
    with embedded.start(f"prometheus-{os.getpid()}") as cluster:
        cluster.load_images([workload_image.build()])
        mesh.install(cluster, MeshOptions())
        with Lab(cluster, mesh).space("scraped") as space:
            server, client = space.deploy("server"), space.deploy("client")
            for _ in range(REQUESTS):
                assert client.app.one(Plan(url=server.url())).status == 200
            yield server


@pytest.fixture(scope="module")
def prometheus(server: Member, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_configuration(server, folder)))
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    container = (
        DockerContainer(_image(), network_mode="host", read_only=True, cap_drop=["ALL"])
        .with_volume_mapping(str(folder), "/etc/prometheus", "ro")
        .with_tmpfs_mount("/prometheus", "mode=1777")
        .with_command(
            "--config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus "
            f"--web.listen-address=127.0.0.1:{port}"
        )
    )
    with container:
        yield Prometheus(f"http://127.0.0.1:{port}/api/v1/", container)


class Prometheus:
    def __init__(self, url: str, container: DockerContainer) -> None:
        self.url = url
        self.container = container

    def ask(self, path: str, **parameters: str) -> Any:
        try:
            answer = httpx2.get(self.url + path, params=parameters, trust_env=False)
        except httpx2.TransportError as error:
            return {"error": str(error), "log": self.container.get_logs()[1][-500:]}
        return answer.json()["data"]

    def value(self, query: str) -> float | None:
        found = self.ask("query", query=query).get("result")
        return float(found[0]["value"][1]) if found else None


def _image() -> str:
    if named := os.environ.get("MESHMARK_PROMETHEUS_IMAGE"):
        return named
    made = Image(
        reference="meshmark.dev/prometheus:bookworm",
        binds=[],
        entrypoint=["/usr/bin/prometheus"],
        user=65534,
        packages=["prometheus"],
    )
    with archived(made).path.open("rb") as archive:
        docker.from_env().images.load(archive)
    return made.reference


def _configuration(server: Member, folder: Path) -> dict[str, Any]:
    kubeconfig = yaml.safe_load(server.space.lab.cluster.kubeconfig.read_text())
    (cluster,), (user,) = kubeconfig["clusters"], kubeconfig["users"]
    authority = cluster["cluster"]["certificate-authority-data"]
    (folder / "ca.crt").write_bytes(base64.b64decode(authority))
    pod = server.pod_names()[0]
    base = f"/api/v1/namespaces/{server.space.name}/pods/{pod}:4191/proxy"
    scrape = {
        "job_name": "proxy",
        "scheme": "https",
        "metrics_path": f"{base}/metrics",
        "authorization": {"credentials": user["user"]["token"]},
        "tls_config": {"ca_file": "/etc/prometheus/ca.crt"},
        "static_configs": [{"targets": [cluster["cluster"]["server"].partition("://")[2]]}],
    }
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [scrape],
    }


def test_prometheus_takes_what_the_proxy_exposes(prometheus: Prometheus) -> None:
    """A line that it cannot parse makes the whole target down, with the reason as its error."""
    (target,) = until(
        lambda: prometheus.ask("targets").get("activeTargets", []),
        what="Prometheus has scraped the proxy",
        holds=lambda targets: targets and targets[0]["health"] != "unknown",
        timeout_s=60,
    )
    assert target["lastError"] == ""
    assert target["health"] == "up"


def test_requests_and_latencies_can_be_asked_for(prometheus: Prometheus) -> None:
    inbound = '{direction="inbound",target_port="8080"}'
    until(
        lambda: prometheus.value(f"sum(request_total{inbound})"),
        what="Prometheus has scraped every request",
        holds=lambda seen: seen == REQUESTS,
        timeout_s=60,
    )
    assert prometheus.value('sum(response_total{direction="inbound",status_code="200"})') >= 1
    buckets = f"histogram_quantile(0.99, sum by (le) (response_latency_ms_bucket{inbound}))"
    assert prometheus.value(buckets) > 0
    kinds = {each[0]["type"] for each in prometheus.ask("metadata").values()}
    assert {"counter", "gauge", "histogram"} <= kinds
