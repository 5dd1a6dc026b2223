"""
What the command line prints, through a real kubectl, into an API that validates it.

MESHMARK_CONTRACT_CLUSTER names the engine: `embedded` (the default) or `kind`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.mesh import driver
from harness.mesh.protocol import MeshOptions
from tests.reference_mesh.cli.shell import User, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of a test alone: the mesh's programs may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

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


@pytest.fixture(scope="module")
def user(kubectl_program: str) -> Iterator[User]:
    with shell(kubectl_program, driver("reference").images(MeshOptions())) as user:
        yield user


def test_what_comes_too_early_is_told_what_is_missing(user: User) -> None:
    """The mesh, and then the user's own objects, before the definitions of their kinds."""
    code, stdout, stderr = user.tried("install")
    assert (code, stdout) == (1, "")
    assert "refmesh install --crds | kubectl apply -f -" in stderr
    assert "no objects passed to apply" in user.started("apply", "-f", "-").stderr
    assert "ensure CRDs are installed first" in user.started("apply", "-f", "-", stdin=SEED).stderr


def test_a_real_kubectl_installs_upgrades_prunes_and_uninstalls(user: User) -> None:
    """What an upgrade leaves alone is `unchanged`; what it left over goes, and nothing else."""
    assert "√" in user.check("--pre")
    user.apply(user.refmesh("install", "--crds"))
    installed = user.refmesh("install")
    user.apply(installed)
    user.until_rolled_out()
    assert "‼" not in user.check()
    assert "created" in user.apply(SEED)

    assert user.refmesh("upgrade") == installed
    again = user.apply(user.refmesh("upgrade", "--crds")) + user.apply(installed)
    assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}
    assert user.refmesh("prune") == ""
    user.apply(LEFT_OVER)
    told = user.apply(user.refmesh("upgrade", "--set", "proxy.logLevel=debug"))
    assert "secret/linkerd-identity-issuer unchanged" in told
    assert "configmap/linkerd-identity-trust-roots unchanged" in told
    assert "deployment.apps/linkerd-destination configured" in told
    user.until_rolled_out()
    assert user.delete(user.refmesh("prune")) == [
        'service "linkerd-of-old"',
        'clusterrole.rbac.authorization.k8s.io "linkerd-linkerd-of-old"',
    ]
    assert "‼" not in user.check()

    user.delete(user.refmesh("uninstall"))
    assert "√" in user.check("--pre")
