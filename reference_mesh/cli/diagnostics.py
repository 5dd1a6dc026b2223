"""`refmesh diagnostics`: what the control plane tells proxies, and what proxies count."""

from __future__ import annotations

import json
from typing import Any

import click

from reference_mesh.cli import pods, tables
from reference_mesh.cli.kubernetes import Kubernetes, connected, path
from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import ClusterError, UsageError
from reference_mesh.manifests import documents, names

__all__ = ["command"]

_ADMIN_PORTS = {
    "identity": names.IDENTITY_ADMIN_PORT,
    "destination": names.DESTINATION_ADMIN_PORT,
    "proxy-injector": names.INJECTOR_ADMIN_PORT,
}
_namespace = click.option(
    "-n", "--namespace", default="default", show_default=True, help="Namespace of the resource."
)


@click.group("diagnostics")
def command() -> None:
    """Look into the control plane and the proxies."""


@command.command("endpoints")
@click.argument("authorities", nargs=-1, required=True, metavar="AUTHORITY...")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form.")
@where_options
def endpoints(where: Where, authorities: tuple[str, ...], *, output: str) -> None:
    """
    Show what the destination component answers for these authorities.

        refmesh diagnostics endpoints web.default.svc.cluster.local:80
    """
    rows: list[dict[str, Any]] = []
    with connected(where) as kubernetes:
        for authority in authorities:
            text = pods.destination_page(
                kubernetes, where.namespace, "/endpoints", {"authority": authority}
            )
            rows += _rows(json.loads(text))
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No endpoints found.", err=True)
        return
    header = ("NAMESPACE", "IP", "PORT", "POD", "SERVICE")
    shown = [[str(row[name.lower()]) for name in header] for row in rows]
    click.echo(tables.aligned(header, shown), nl=False)


@command.command("profile")
@click.argument("authority")
@where_options
def profile(where: Where, authority: str) -> None:
    """Show the profile that proxies get for an authority, as JSON."""
    with connected(where) as kubernetes:
        click.echo(
            pods.destination_page(
                kubernetes, where.namespace, "/profile", {"authority": authority}
            ),
            nl=False,
        )


@command.command("policy")
@click.argument("resource")
@click.argument("port", type=click.IntRange(1, 65535))
@_namespace
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="Form.")
@where_options
def policy(where: Where, resource: str, port: int, *, namespace: str, output: str) -> None:
    """
    Show the policy of a port: a pod's for what comes in, a service's for what goes to it.

        refmesh diagnostics policy -n shop po/web-0 8080
        refmesh diagnostics policy -n shop svc/web 80
    """
    kind, slash, name = resource.partition("/")
    with connected(where) as kubernetes:
        if slash and kind in {"svc", "service", "services"}:
            query = {"address": _cluster_address(kubernetes, namespace, name, port)}
        else:
            found = pods.named(kubernetes, namespace, resource)
            if not found:
                raise ClusterError(f"{resource}: no pod of it runs in namespace {namespace}")
            workload = {"ns": namespace, "pod": found[0]["metadata"]["name"]}
            query = {"workload": json.dumps(workload), "port": str(port)}
        text = pods.destination_page(kubernetes, where.namespace, "/policy", query)
    click.echo(text if output == "json" else documents.dump(json.loads(text)), nl=False)


@command.command("proxy-metrics")
@click.argument("resource")
@_namespace
@where_options
def proxy_metrics(where: Where, resource: str, *, namespace: str) -> None:
    """Show the metrics of the proxies of a pod, deployment or the like."""
    with connected(where) as kubernetes:
        for pod in pods.named(kubernetes, namespace, resource):
            name = pod["metadata"]["name"]
            port = pods.admin_port(pod)
            text = pods.page(kubernetes, namespace, name, port, "/metrics")
            click.echo(f"#\n# POD {name} (admin port {port})\n#\n{text}", nl=False)


@command.command("controller-metrics")
@where_options
def controller_metrics(where: Where) -> None:
    """Show the metrics of the control plane's components."""
    with connected(where) as kubernetes:
        found = kubernetes.items(path("v1", "pods", where.namespace), labelSelector=names.COMPONENT)
        for pod in pods.running(found):
            component, name = pod["metadata"]["labels"][names.COMPONENT], pod["metadata"]["name"]
            port = _ADMIN_PORTS.get(component)
            if port is None:
                continue
            text = pods.page(kubernetes, where.namespace, name, port, "/metrics")
            click.echo(f"#\n# POD {name} (admin port {port})\n#\n{text}", nl=False)


def _rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    labels = answer.get("labels") or {}
    return [
        {
            "namespace": labels.get("namespace", ""),
            "ip": item["ip"],
            "port": item["port"],
            "pod": (item.get("metricLabels") or {}).get("pod", ""),
            "service": ".".join(filter(None, (labels.get("service"), labels.get("namespace")))),
            "identity": ((item.get("tlsIdentity") or {}).get("dnsLikeIdentity") or {}).get(
                "name", ""
            ),
        }
        for item in answer.get("endpoints") or ()
    ]


def _cluster_address(kubernetes: Kubernetes, namespace: str, name: str, port: int) -> str:
    service = kubernetes.get(path("v1", "services", namespace, name))
    address = service["spec"].get("clusterIP")
    if not address or address == "None":
        raise UsageError(f"svc/{name} has no cluster address; ask for one of its pods")
    return f"{address}:{port}"
