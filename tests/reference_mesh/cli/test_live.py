"""
A mesh with two replicas of each component, as it runs.

MESHMARK_CONTRACT_CLUSTER names the engine: `embedded` (the default) or `kind`.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Namespace, Pod

from harness.cluster import embedded, kind
from harness.mesh import driver, resources
from harness.mesh.protocol import MeshOptions
from harness.waiting import until
from reference_mesh.cli import main
from reference_mesh.manifests import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster import Cluster

# Of a test alone: the mesh's programs may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

REFRESHED_S = 180
"""A kubelet looks at mounted Secrets about once a minute, and may show what it had then."""

DEPLOYMENTS = ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector")
SECRET = "linkerd-proxy-injector-k8s-tls"
CONFIGURATION = "linkerd-proxy-injector-webhook-config"
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "generateName": "asked-",
        "namespace": "shop",
        "annotations": {"linkerd.io/inject": "enabled"},
    },
    "spec": {"containers": [{"name": "app", "image": "meshmark.dev/control-plane:0.1.0"}]},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster with the mesh, installed for high availability."""
    images = driver("reference").images(MeshOptions())
    maker = kind if os.environ.get("MESHMARK_CONTRACT_CLUSTER") == "kind" else embedded
    with maker.start(f"refmesh-live-{os.getpid()}", images=images) as started:
        client = started.client()
        resources.apply(client, resources.documents(refmesh(started, "install", "--crds")))
        installed = refmesh(started, "install", "--ha", "--set=controllerReplicas=2")
        resources.apply(client, resources.documents(installed))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        resources.apply(client, [namespace])
        resources.deployments_available(started, "linkerd", DEPLOYMENTS)
        yield started


def refmesh(cluster: Cluster, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["--kubeconfig", str(cluster.kubeconfig), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def told(cluster: Cluster, *options: str) -> dict[str, str]:
    """What `check` complains of, by check."""
    arguments = ["--kubeconfig", str(cluster.kubeconfig), "check", "-o", "json", *options]
    report = json.loads(CliRunner().invoke(main, arguments).stdout)
    listed = [check for group in report["categories"] for check in group["checks"]]
    return {c["description"]: c["error"] for c in listed if c["result"] != "success"}


def admitted(cluster: Cluster, namespace: str = "shop") -> str:
    """Ask for a pod in the mesh, without keeping it; returns what is wrong with the answer."""
    pod = Pod.from_dict({**POD, "metadata": {**POD["metadata"], "namespace": namespace}})
    try:
        made = cluster.client().create(pod, dry_run=True)
    except ApiError as error:
        return str(error.status.message)
    containers = [c.name for c in (made.spec and made.spec.initContainers) or []]
    return "" if "linkerd-proxy" in containers else f"not injected: {containers}"


@contextlib.contextmanager
def admissions(cluster: Cluster) -> Iterator[None]:
    """Ask for pods all through the block; every one must be admitted and injected."""
    over, answers = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            answers.append(admitted(cluster))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert len(answers) > 10
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
    hooks = configuration(cluster)
    hooks["webhooks"][0]["clientConfig"]["caBundle"] = base64.b64encode(pem.encode()).decode()
    resources.apply(cluster.client(), [hooks])


def configuration(cluster: Cluster) -> dict[str, Any]:
    """The injector's webhook as it is, to be applied again with changes."""
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{CONFIGURATION}"
    with cluster.api_http(path) as http:
        found = http.get("").json()
    del found["metadata"]["managedFields"]
    return {key: found[key] for key in ("apiVersion", "kind", "metadata", "webhooks")}


def until_served(cluster: Cluster, pem: str) -> None:
    """Wait until every replica serves this certificate, by a webhook of a namespace of its own."""
    probe = configuration(cluster)
    probe["metadata"] = {"name": "probe"}
    probe["webhooks"][0] |= {
        "clientConfig": {
            **probe["webhooks"][0]["clientConfig"],
            "caBundle": base64.b64encode(pem.encode()).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "probe"}},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "probe"}}
    resources.apply(cluster.client(), [namespace, probe])
    until(
        lambda: [admitted(cluster, "probe") for _ in range(12)],
        what="every replica serves the certificate",
        holds=lambda answers: not any("certificate" in answer for answer in answers),
        timeout_s=REFRESHED_S,
    )
    resources.remove(cluster.client(), [namespace, probe])


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
    until_served(cluster, old.trusted_pem)
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


def test_proxy_of_a_pod_is_seen(cluster: Cluster) -> None:
    pod = json.loads(json.dumps(POD))
    pod["metadata"] = {**pod["metadata"], "name": "web"}
    del pod["metadata"]["generateName"]
    pod["spec"]["containers"][0]["command"] = ["sleep", "infinity"]
    resources.apply(cluster.client(), [pod])
    assert told(cluster, "--proxy", "--wait", "30s") == {}


def test_real_trouble_is_told(cluster: Cluster) -> None:
    client = cluster.client()
    resources.scale(client, "linkerd", "linkerd-proxy-injector", 0)
    client.delete(Namespace, "shop")
    until(
        lambda: told(cluster, "--wait", "0s"),
        what="check sees that nothing injects",
        holds=lambda complaints: (
            complaints.get("control plane services have endpoints")
            == "service linkerd-proxy-injector has no endpoint that is ready"
        ),
        timeout_s=30,
    )
