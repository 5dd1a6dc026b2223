"""`meshmark demo`: a small application with traffic, to look at a mesh with."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod

from harness.cluster import choice
from harness.cluster.api_cluster import ApiCluster
from harness.cluster.external import external
from harness.errors import ClusterError
from harness.mesh import resources
from harness.workload import pods
from harness.workload.image import REFERENCE
from harness.workload.plans import Plan

if TYPE_CHECKING:
    import lightkube

__all__ = ["command", "manifests"]

_NAMES = ("web", "api", "database")
_CALLS = (("web", "api", "/orders", 10.0), ("api", "database", "/orders/1", 5.0))
"""Who calls whom, for what, how often each second."""
_LONGEST_S = 86_400.0
"""As long as the workload takes; then the container starts again."""
_GRACE_S = 2
"""A caller has nothing to finish, so a pod that is deleted need not take longer."""
_REPLICAS = {"api": 2}


@click.command("demo")
@click.option("-n", "--namespace", default="default", show_default=True, help="Where it goes.")
@click.option("--remove", is_flag=True, help="Remove it again; a namespace made for it stays.")
@click.option("--name", default="meshmark", show_default=True, help="Cluster of `meshmark up`.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another cluster, by its kubeconfig; it must be able to pull the workload's image.",
)
@click.option("--context", help="Another cluster, by its context in the kubeconfig.")
def command(
    namespace: str, remove: bool, name: str, kubeconfig: Path | None, context: str | None
) -> None:
    """
    Deploy a small application with traffic: web calls api, api calls database.

    Its pods are in the mesh when their namespace is annotated before they are made.
    """
    with contextlib.closing(_cluster(name, kubeconfig, context)) as cluster:
        client = cluster.client()
        objects = manifests(namespace)
        if remove:
            resources.remove(client, objects)
            click.echo(f"removed web, api and database from namespace {namespace}")
            return
        _make_namespace(client, namespace)
        resources.apply(client, objects)
        click.echo(f"waiting for web, api and database in namespace {namespace}", err=True)
        resources.deployments_available(cluster, namespace, _NAMES)
        again = _this_command(namespace, name, kubeconfig, context)
        for line in _to_look_at(namespace, again, meshed=_is_meshed(client, namespace)):
            click.echo(line)


def manifests(namespace: str) -> list[dict[str, Any]]:
    """The objects of the application: an account, a Service and a Deployment for each part."""
    made = []
    for part in reversed(_NAMES):
        role = pods.Role(part, namespace, grace_s=_GRACE_S)
        deployment = pods.deployment(role, replicas=_REPLICAS.get(part, 1))
        containers = deployment["spec"]["template"]["spec"]["containers"]
        containers += [
            _caller(f"http://{callee}:{pods.HTTP_PORT}{path}", rate_rps)
            for caller, callee, path, rate_rps in _CALLS
            if caller == part
        ]
        made += [pods.service_account(role), pods.service(role), deployment]
    return made


def _caller(url: str, rate_rps: float) -> dict[str, Any]:
    """A container that calls a URL for ever and prints each outcome on a line."""
    plan = Plan(url, rate_rps=rate_rps, duration_s=_LONGEST_S, concurrency=10, brief=True)
    return {
        "name": "traffic",
        "image": REFERENCE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["call", plan.json().decode()],
        "securityContext": {
            "runAsUser": 1000,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _cluster(name: str, kubeconfig: Path | None, context: str | None) -> ApiCluster:
    if context is not None:
        return external(context, kubeconfig)
    if kubeconfig is not None:
        return ApiCluster(kubeconfig.name, kubeconfig)
    return choice.attach(name)


def _make_namespace(client: lightkube.Client, namespace: str) -> None:
    try:
        client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    except ApiError as error:
        if error.status.reason != "AlreadyExists":
            raise ClusterError(f"namespace {namespace}: {error.status.message}") from error


def _is_meshed(client: lightkube.Client, namespace: str) -> bool:
    """Whether a pod of `web` has more containers than it was deployed with."""
    for pod in client.list(Pod, namespace=namespace, labels={"app": "web"}):
        assert pod.spec is not None
        names = {one.name for one in [*pod.spec.containers, *(pod.spec.initContainers or [])]}
        if names - {"app", "traffic"}:
            return True
    return False


def _this_command(namespace: str, name: str, kubeconfig: Path | None, context: str | None) -> str:
    words = ["meshmark", "demo"]
    for flag, value, plain in (
        ("--namespace", namespace, "default"),
        ("--name", name, "meshmark"),
        ("--kubeconfig", kubeconfig, None),
        ("--context", context, None),
    ):
        words += [] if value == plain else [flag, str(value)]
    return shlex.join(words)


def _to_look_at(namespace: str, again: str, *, meshed: bool) -> list[str]:
    place = f"-n {namespace}"
    lines = ["web calls api ten times a second, and api calls database five times.", ""]
    if meshed:
        lines += [
            "Every pod is in the mesh. Look at:",
            f"    kubectl {place} get pods",
            f"    kubectl {place} logs -f deploy/web -c traffic",
            f"    refmesh check --proxy {place}",
            f"    refmesh diagnostics proxy-metrics {place} deploy/api | grep ^response_total",
        ]
    else:
        lines += [
            "The pods are not in a mesh. Look at:",
            f"    kubectl {place} get pods",
            f"    kubectl {place} logs -f deploy/web -c traffic",
            "With a mesh installed, bring them into it:",
            f"    kubectl annotate namespace {namespace} linkerd.io/inject=enabled",
            f"    kubectl {place} rollout restart deploy",
        ]
    return [*lines, "Remove it:", f"    {again} --remove"]
