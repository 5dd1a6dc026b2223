"""What the command line prints, given to an API that validates it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from harness.cluster import embedded
from harness.mesh import resources
from reference_mesh.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.embedded import EmbeddedCluster

SEED = """
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: api-service.default.svc.cluster.local, namespace: default}
spec:
  outlierDetection: {consecutiveErrors: 5, interval: 10s, baseEjectionTime: 30s}
  routes:
  - name: GET /api/internal
    condition: {headers: {x-user-type: internal}}
    destination: {service: api-service-v2}
  - name: GET /reviews/{id}
    condition: {method: GET, path: "/reviews/[^/]+"}
    isRetryable: true
    retryConditions: [status_5xx, reset]
    timeout: 1s
    responseClasses:
    - {condition: {status: {min: 200, max: 299}}, isSuccess: true}
---
apiVersion: split.smi-spec.io/v1alpha3
kind: TrafficSplit
metadata: {name: review-service, namespace: default}
spec:
  service: review-service
  backends: [{service: review-service-v1, weight: 90}, {service: review-service-v2, weight: 10}]
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: review-service, namespace: default}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: review-service}
  service: {port: 8080}
  analysis: {interval: 1m, threshold: 5, maxWeight: 50, stepWeight: 10}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with embedded.start("refmesh-cli") as started:
        yield started


def refmesh(cluster: EmbeddedCluster, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["--kubeconfig", str(cluster.kubeconfig), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def kubectl(cluster: EmbeddedCluster, *arguments: str, stdin: str) -> str:
    done = subprocess.run(
        ["kubectl", *arguments, "-f", "-"],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LEFT_OVER = """
apiVersion: v1
kind: Service
metadata:
  name: linkerd-of-old
  namespace: linkerd
  labels: {linkerd.io/control-plane-ns: linkerd}
spec: {ports: [{port: 80}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: linkerd-linkerd-of-old
  labels: {linkerd.io/control-plane-ns: linkerd}
rules: []
"""


@pytest.mark.cluster
def test_a_real_kubectl_upgrades_and_prunes(cluster: EmbeddedCluster) -> None:
    """What an upgrade leaves alone is `unchanged`; what it left over goes, and nothing else."""
    kubectl(cluster, "apply", stdin=refmesh(cluster, "install", "--crds"))
    kubectl(cluster, "apply", stdin=refmesh(cluster, "install"))
    again = kubectl(cluster, "apply", stdin=refmesh(cluster, "upgrade", "--crds"))
    again += kubectl(cluster, "apply", stdin=refmesh(cluster, "upgrade"))
    assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}
    nothing = kubectl(cluster, "delete", stdin=refmesh(cluster, "prune"))
    assert nothing == "No resources found\n"

    kubectl(cluster, "apply", stdin=LEFT_OVER)
    changed = refmesh(cluster, "upgrade", "--set", "proxy.image.version=next")
    told = kubectl(cluster, "apply", stdin=changed)
    assert "secret/linkerd-identity-issuer unchanged" in told
    assert "configmap/linkerd-identity-trust-roots unchanged" in told
    assert "deployment.apps/linkerd-destination configured" in told
    assert kubectl(cluster, "delete", stdin=refmesh(cluster, "prune")).splitlines() == [
        'service "linkerd-of-old" deleted',
        'clusterrole.rbac.authorization.k8s.io "linkerd-linkerd-of-old" deleted',
    ]
    kubectl(cluster, "delete", stdin=refmesh(cluster, "uninstall", "--force"))
    assert "√" in refmesh(cluster, "check", "--pre")


@pytest.mark.cluster
def test_install_upgrade_and_uninstall_leave_nothing(cluster: EmbeddedCluster) -> None:
    client = cluster.client()
    assert "√" in refmesh(cluster, "check", "--pre")
    resources.apply(client, resources.documents(refmesh(cluster, "install", "--crds")))
    installed = refmesh(cluster, "install")
    resources.apply(client, resources.documents(installed))
    assert refmesh(cluster, "upgrade") == installed
    assert refmesh(cluster, "prune") == ""
    resources.apply(client, resources.documents(SEED))
    everything = resources.documents(refmesh(cluster, "uninstall", "--force"))
    resources.remove(client, reversed(everything))
    assert "√" in refmesh(cluster, "check", "--pre")
