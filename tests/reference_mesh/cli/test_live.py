"""
A mesh with two replicas of each component, as it runs.

MESHMARK_CONTRACT_CLUSTER names the engine: `embedded` (the default) or `kind`.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod

from harness.mesh import resources
from harness.waiting import until
from reference_mesh.manifests import serving
from tests.reference_mesh.cli.live import (
    DEPLOYMENTS,
    IMAGE,
    PYTHON,
    REFRESHED_S,
    install,
    refmesh,
    started,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster import Cluster

# Of a test alone: the mesh's programs may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

SECRET = "linkerd-proxy-injector-k8s-tls"
CONFIGURATION = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/"
    "linkerd-proxy-injector-webhook-config"
)
ASK_REPLICAS = """
import ssl, sys, time
wanted, *replicas = sys.argv[1:]
def served(replica):
    try:
        return ssl.get_server_certificate((replica, 8443), timeout=5)
    except OSError:
        return ""
while any(served(replica).strip() != wanted.strip() for replica in replicas):
    time.sleep(0.2)
print("all")
"""
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "generateName": "asked-",
        "namespace": "shop",
        "annotations": {"linkerd.io/inject": "enabled"},
    },
    "spec": {"containers": [{"name": "app", "image": IMAGE}]},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the mesh."""
    with started("refmesh-live") as cluster:
        install(cluster, tmp_path_factory.mktemp("credentials"))
        yield cluster


def admitted(cluster: Cluster) -> str:
    """Ask for a pod in the mesh, without keeping it; returns what is wrong with the answer."""
    try:
        made = cluster.client().create(Pod.from_dict(POD), dry_run=True)
    except ApiError as error:
        return str(error.status.message)
    containers = [c.name for c in (made.spec and made.spec.initContainers) or []]
    return "" if "linkerd-proxy" in containers else f"not injected: {containers}"


ENOUGH = 10
"""Admissions to judge by, on a machine that is too busy for more."""


@contextlib.contextmanager
def admissions(cluster: Cluster) -> Iterator[None]:
    """Ask for pods all through the block; every one must be admitted and injected."""
    over, answers = threading.Event(), []

    def ask() -> None:
        while not over.is_set() or len(answers) < ENOUGH:
            answers.append(admitted(cluster))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert [answer for answer in answers if answer] == []


def pods(cluster: Cluster) -> dict[str, int]:
    """Pods of the control plane, with the restarts of their containers."""
    found = cluster.client().list(Pod, namespace="linkerd")
    return {
        pod.metadata.name: sum(c.restartCount for c in pod.status.containerStatuses)
        for pod in found
    }


def put_certificate(cluster: Cluster, one: serving.Serving) -> None:
    """Serve this certificate from now on."""
    data = {"tls.crt": one.pair.certificate_pem, "tls.key": one.pair.key_pem}
    data["ca.crt"] = one.trusted_pem
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": "linkerd"},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }
    resources.apply(cluster.client(), [secret])


def trust(cluster: Cluster, pem: str) -> None:
    """Have the API server trust this bundle and nothing else."""
    hooks = stored(cluster, CONFIGURATION)
    encoded = base64.b64encode(pem.encode()).decode()
    hooks["webhooks"][0]["clientConfig"].update(caBundle=encoded)
    resources.apply(cluster.client(), [hooks])


def stored(cluster: Cluster, address: str) -> dict[str, Any]:
    """The object at this path of the API, in a form that can be applied again."""
    with cluster.api_http() as http:
        found = http.get(address).json()
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: found["metadata"][key] for key in kept if key in found["metadata"]}
    return {**found, "metadata": metadata}


def until_served(cluster: Cluster, pem: str) -> None:
    """
    Wait until every replica serves this certificate.

    A pod asks each at its own address: the API server has one connection to one of them.
    """
    replicas = cluster.client().list(
        Pod, namespace="linkerd", labels={"linkerd.io/control-plane-component": "proxy-injector"}
    )
    addresses = [pod.status.podIP for pod in replicas if pod.status and pod.status.podIP]
    assert len(addresses) == 2
    asking = {
        "name": "app",
        "image": IMAGE,
        "command": [PYTHON, "-c", ASK_REPLICAS, pem, *addresses],
    }
    asker = {
        "metadata": {"name": "asker", "namespace": "shop"},
        "spec": {"restartPolicy": "Never", "containers": [asking]},
    }
    client = cluster.client()
    client.create(Pod.from_dict({**POD, **asker}))
    until(
        lambda: client.get(Pod, "asker", namespace="shop").status.phase,
        what="every replica serves the certificate",
        holds=lambda phase: phase in {"Succeeded", "Failed"},
        timeout_s=REFRESHED_S,
    )
    assert cluster.logs("shop", "asker", "app") == "all\n"
    client.delete(Pod, "asker", namespace="shop", grace_period=0)
    until(
        lambda: [pod.metadata.name for pod in client.list(Pod, namespace="shop")],
        what="the asking pod is gone",
        holds=lambda left: "asker" not in left,
        timeout_s=30,
    )


def installed_certificate(cluster: Cluster) -> str:
    from lightkube.resources.core_v1 import Secret

    data = cluster.client().get(Secret, SECRET, namespace="linkerd").data
    return base64.b64decode(data["tls.crt"]).decode()


def test_check_is_good(cluster: Cluster) -> None:
    assert told(cluster) == {}


def test_certificates_of_pods_are_shown(cluster: Cluster) -> None:
    pods_of = ("identity", "-n", "linkerd", "deploy/linkerd-identity")
    rows = json.loads(refmesh(cluster, *pods_of, "-o", "json"))
    name = "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"
    assert [row["identity"] for row in rows] == [name, name]
    for row in rows:
        certificate = x509.load_pem_x509_certificate(row["certificate"].encode())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert found.value.get_values_for_type(x509.DNSName) == [name]
        assert f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}" == row["expires"]
    assert refmesh(cluster, *pods_of).count(f"DNS:{name}\n") == 2


def test_webhook_certificate_is_renewed_without_a_refused_admission(
    cluster: Cluster,
) -> None:
    before = pods(cluster)
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=310)
    old = serving.made(serving.injector_hosts("linkerd"), now=start)
    trust(cluster, installed_certificate(cluster) + old.trusted_pem)
    put_certificate(cluster, old)
    until_served(cluster, old.pair.certificate_pem)
    trust(cluster, old.trusted_pem)
    assert list(told(cluster)) == ["proxy-injector cert is valid for at least 60 days"]
    with admissions(cluster):
        upgraded = refmesh(cluster, "upgrade")
        resources.apply(cluster.client(), resources.documents(upgraded))
        new = installed_certificate(cluster)
        assert new != old.pair.certificate_pem
        until_served(cluster, new)
    assert told(cluster) == {}
    assert pods(cluster) == before


def test_replica_that_goes_costs_no_admission(cluster: Cluster) -> None:
    client = cluster.client()
    with admissions(cluster):
        for name in list(pods(cluster))[::2]:
            client.delete(Pod, name, namespace="linkerd")
        resources.deployments_available(cluster, "linkerd", DEPLOYMENTS)
        for name in DEPLOYMENTS:
            resources.restart(client, "linkerd", name)
        resources.deployments_available(cluster, "linkerd", DEPLOYMENTS)


def test_proxy_of_a_pod_is_seen_wherever_it_listens(cluster: Cluster) -> None:
    pod = json.loads(json.dumps(POD))
    pod["metadata"] = {**pod["metadata"], "name": "web"}
    pod["metadata"]["annotations"]["config.linkerd.io/admin-port"] = "4291"
    del pod["metadata"]["generateName"]
    pod["spec"]["containers"][0]["command"] = ["sleep", "infinity"]
    resources.apply(cluster.client(), [pod])
    assert told(cluster, "--proxy", "--wait", "30s") == {}
    assert "control_identity_cert" in refmesh(
        cluster, "diagnostics", "proxy-metrics", "-n", "shop", "pod/web"
    )
