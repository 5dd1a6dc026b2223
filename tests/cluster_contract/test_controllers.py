"""What follows from Deployments, Jobs and namespaces."""

from __future__ import annotations

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import ConfigMap, Pod, ServiceAccount
from lightkube.types import CascadeType, PatchType

from harness.waiting import until

# A rollout takes its 60 s on a busy kubelet.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 3
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: meshmark.dev/contract:1
        command: [sh, -c, "sleep 0.2; touch /tmp/up; sleep 1000"]
        readinessProbe: {exec: {command: [test, -e, /tmp/up]}}
"""


def rolled_out(bench, replicas: int = 3) -> None:
    """Wait as `kubectl rollout status` does."""

    def done() -> bool:
        each = bench.client.get(Deployment, "app", namespace=bench.namespace)
        status = each.status
        return (
            status is not None
            and status.observedGeneration == each.metadata.generation
            # Counts that are zero are left out.
            and [status.updatedReplicas, status.replicas, status.availableReplicas]
            == [replicas or None] * 3
        )

    until(done, what="app rolled out", timeout_s=60, interval_s=0.02)


def change(bench, **spec: object) -> None:
    bench.client.patch(
        Deployment, "app", {"spec": spec}, namespace=bench.namespace, patch_type=PatchType.MERGE
    )


def colour(bench, value: str) -> None:
    change(bench, template={"metadata": {"annotations": {"colour": value}}})


def names(bench) -> set[str]:
    """Of the pods that the Deployment's selector takes."""
    found = bench.client.list(Pod, namespace=bench.namespace, labels={"app": "app"})
    return {each.metadata.name for each in found}


def sets(bench) -> list[ReplicaSet]:
    found = bench.client.list(ReplicaSet, namespace=bench.namespace)
    return sorted(found, key=lambda each: each.metadata.creationTimestamp)


def test_a_rollout_never_drops_below_its_minimum(bench) -> None:
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    old = {each.metadata.name for each in bench.client.list(Pod, namespace=bench.namespace)}
    colour(bench, "blue")
    least = 3

    def replaced() -> bool:
        nonlocal least
        found = bench.client.get(Deployment, "app", namespace=bench.namespace).status
        least = min(least, found.availableReplicas)
        return found.updatedReplicas == 3 and found.replicas == 3

    until(replaced, what="new pods", timeout_s=60, interval_s=0.01)
    rolled_out(bench)
    new = {
        each.metadata.name
        for each in bench.client.list(Pod, namespace=bench.namespace)
        if not each.metadata.deletionTimestamp
    }

    assert least == 3, "25 % of 3, rounded down, may be unavailable: none"
    assert not old & new
    assert len(new) == 3


def test_a_rollback_takes_the_old_replica_set_again(bench) -> None:
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    [first] = sets(bench)
    colour(bench, "blue")
    rolled_out(bench)
    change(bench, template={"metadata": {"annotations": None}})
    rolled_out(bench)
    again = bench.client.get(ReplicaSet, first.metadata.name, namespace=bench.namespace)

    assert len(sets(bench)) == 2
    assert again.spec.replicas == 3
    assert again.metadata.annotations["deployment.kubernetes.io/revision"] == "3"


def test_scaling_goes_both_ways(bench) -> None:
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    for replicas in (5, 0, 1):
        change(bench, replicas=replicas)
        rolled_out(bench, replicas)
        until(
            lambda: list(bench.client.list(Pod, namespace=bench.namespace)),
            what=f"{replicas} pods",
            timeout_s=10,
            holds=lambda pods, replicas=replicas: len(pods) == replicas,
        )


def test_a_lost_pod_is_replaced(bench) -> None:
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    victim = next(iter(bench.client.list(Pod, namespace=bench.namespace)))
    bench.client.delete(Pod, victim.metadata.name, namespace=bench.namespace)
    until(lambda: bench.show(victim.metadata.name) is None, what="the pod gone", timeout_s=10)
    rolled_out(bench)

    assert len(list(bench.client.list(Pod, namespace=bench.namespace))) == 3


def test_a_deployment_made_again_takes_the_pods_it_left_behind(bench) -> None:
    """As after `kubectl delete --cascade=orphan`, and nothing restarts."""
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    before = names(bench)
    bench.client.delete(Deployment, "app", namespace=bench.namespace, cascade=CascadeType.ORPHAN)
    until(
        lambda: not list(bench.client.list(Deployment, namespace=bench.namespace)),
        what="deployment gone",
        timeout_s=20,
    )
    assert names(bench) == before
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    assert names(bench) == before


def test_a_pod_that_is_relabelled_is_let_go_and_replaced(bench) -> None:
    """So that somebody can look at it in peace; labelled back, it is one too many."""
    bench.apply(DEPLOYMENT)
    rolled_out(bench)
    chosen, *others = sorted(names(bench))

    def label(value: str) -> None:
        change = {"metadata": {"labels": {"app": value}}}
        bench.client.patch(Pod, chosen, change, namespace=bench.namespace)

    label("watched")
    until(lambda: len(names(bench)) == 3, what="a pod in its place", timeout_s=20)
    alone = bench.client.get(Pod, chosen, namespace=bench.namespace)
    assert set(others) < names(bench)
    assert not alone.metadata.ownerReferences
    rolled_out(bench)
    label("app")
    until(lambda: len(names(bench)) == 3, what="three pods in all", timeout_s=20)
    rolled_out(bench)


def test_recreate_never_runs_two_versions(bench) -> None:
    bench.apply(DEPLOYMENT.replace("replicas: 3", "replicas: 2\n  strategy: {type: Recreate}"))
    rolled_out(bench, 2)
    colour(bench, "blue")
    seen: set[int] = set()

    def done() -> bool:
        pods = list(bench.client.list(Pod, namespace=bench.namespace))
        seen.add(len({each.metadata.labels["pod-template-hash"] for each in pods}))
        return {(each.metadata.annotations or {}).get("colour") for each in pods} == {"blue"}

    until(done, what="blue pods", timeout_s=20, interval_s=0.01)

    assert max(seen) == 1


def test_a_job_runs_until_it_has_succeeded(bench) -> None:
    bench.apply("""
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 2
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: "meshmark.dev/contract:1", command: [sh, -c, "echo 42"]}
""")
    job = until(
        lambda: bench.client.get(Job, "sum", namespace=bench.namespace),
        what="the job complete",
        timeout_s=20,
        holds=lambda each: (
            each.status is not None
            and any(one.type == "Complete" for one in each.status.conditions or ())
        ),
    )

    assert job.status.succeeded == 2


def test_a_job_gives_up_at_its_limit(bench) -> None:
    bench.apply("""
apiVersion: batch/v1
kind: Job
metadata: {name: hopeless}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: "meshmark.dev/contract:1", command: [sh, -c, "exit 1"]}
""")
    job = until(
        lambda: bench.client.get(Job, "hopeless", namespace=bench.namespace),
        what="the job failed, and its pods are counted",  # one may be so later
        timeout_s=20,
        holds=lambda each: each.status and each.status.conditions and each.status.failed == 2,
    )

    assert job.status.conditions[0].reason == "BackoffLimitExceeded"


def test_a_namespace_has_its_account_and_the_cluster_ca(bench) -> None:
    bench.client.get(ServiceAccount, "default", namespace=bench.namespace)
    ca = bench.client.get(ConfigMap, "kube-root-ca.crt", namespace=bench.namespace)

    assert ca.data["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")

    bench.client.delete(ServiceAccount, "default", namespace=bench.namespace)
    bench.client.create(
        ServiceAccount(metadata=ObjectMeta(name="other")), namespace=bench.namespace
    )
    until(
        lambda: {
            each.metadata.name
            for each in bench.client.list(ServiceAccount, namespace=bench.namespace)
        },
        what="the account made again",
        timeout_s=5,
        holds=lambda names: names == {"default", "other"},
    )
