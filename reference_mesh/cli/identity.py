"""
`refmesh identity`: who pods are in the mesh.

Linkerd's CLI dials a pod's sidecar and prints the certificate it shows. That needs a way of its own
to the pod, and this one goes through the API server's pod proxy, which carries HTTP only. So our
sidecar gives out on its admin port what any peer is shown in a handshake. Another's may not; then
the name comes from the environment that it runs with and the times from its metrics. Nothing comes
from the pod's manifest.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import click

from reference_mesh.cli import certificate, installed, pods, tables
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from reference_mesh.cli.kubernetes import Kubernetes

__all__ = ["certified", "command"]

_NAME = "LINKERD2_PROXY_IDENTITY_LOCAL_NAME"

# As expressions: earlier releases of linkerd2-proxy have other names, and no time of issue.
_EXPIRY = r"(?:control_)?identity_cert_expiration_timestamp_seconds"
_REFRESHED = r"(?:control_)?identity_cert_refresh_timestamp_seconds"
_REFRESHES = (
    r"(?:(?:control_)?identity_cert_refreshes_total(?:\{result=\"ok\"\})?"
    r"|identity_cert_refresh_count)"
)


@click.command("identity")
@click.argument("resources", nargs=-1, metavar="[POD | KIND/NAME]...")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of the pods.")
@click.option("-l", "--selector", metavar="LABELS", help="All pods in the mesh with these labels.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "table", "json"]), default="text", help="Form."
)
@where_options
def command(
    where: Where, resources: tuple[str, ...], *, namespace: str, selector: str | None, output: str
) -> None:
    """
    Show the certificates that the proxies of pods show to their peers.

    As a table: the identity, until when it is certified, and how often it was renewed.
    """
    if not resources and selector is None:
        raise UsageError("name pods, or select them with --selector")
    with connected(where) as kubernetes:
        found = [pod for name in resources for pod in pods.named(kubernetes, namespace, name)]
        if selector is not None:
            meshed = installed.meshed_pods(kubernetes, namespace, control_plane_ns=where.namespace)
            found += [pod for pod in pods.running(meshed) if _selected(pod, selector)]
        rows = [_facts(kubernetes, pod) for pod in found]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if output == "text":
        for number, row in enumerate(rows, 1):
            click.echo(f"POD {row['pod']} ({number} of {len(rows)})\n\n{_text(row)}")
        return
    header = ("POD", "IDENTITY", "ISSUED", "EXPIRES", "RENEWALS")
    shown = [[str(row[name.lower()]) for name in header] for row in rows]
    click.echo(tables.aligned(header, shown), nl=False)


def _facts(kubernetes: Kubernetes, pod: dict[str, Any]) -> dict[str, Any]:
    env = _page(kubernetes, pod, "/env.json")
    metrics = _page(kubernetes, pod, "/metrics")
    try:
        name = json.loads(env).get(_NAME) or "none"
    except ValueError as error:
        raise _silent(pod, error) from error
    return {
        "pod": pod["metadata"]["name"],
        "identity": name,
        "issued": _time(metrics, _REFRESHED),
        "expires": _time(metrics, _EXPIRY),
        "renewals": int(_value(metrics, _REFRESHES) or 0),
        "certificate": _certificate(kubernetes, pod),
    }


def _certificate(kubernetes: Kubernetes, pod: dict[str, Any]) -> str | None:
    """PEM, the pod's own first; None where the proxy has none to give."""
    try:
        return _page(kubernetes, pod, "/certificate.pem")
    except ClusterError:
        return None


def _page(kubernetes: Kubernetes, pod: dict[str, Any], place: str) -> str:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    try:
        return pods.page(kubernetes, namespace, name, pods.admin_port(pod), place)
    except ClusterError as error:
        raise _silent(pod, error) from error


def _silent(pod: dict[str, Any], error: Exception) -> ClusterError:
    shown = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    return ClusterError(f"pod {shown}: its proxy does not answer: {error}")


def _text(row: dict[str, Any]) -> str:
    if row["certificate"] is None:
        return (
            f"Its proxy does not give out its certificate. Identity: {row['identity']}\n"
            f"Issued: {row['issued']}, expires: {row['expires']}\n"
        )
    try:
        return certificate.described(row["certificate"])
    except ValueError as error:
        raise ClusterError(f"pod {row['pod']}: its proxy's certificate: {error}") from error


def certified(kubernetes: Kubernetes, pod: dict[str, Any]) -> tuple[float | None, float | None]:
    """
    When a proxy's certificate was issued and when it ends, in seconds since the epoch.

    0 is never, and None is what its metrics do not tell.

    Raises:
        ClusterError: the proxy does not answer; names the pod.

    """
    metrics = _page(kubernetes, pod, "/metrics")
    return _value(metrics, _REFRESHED), _value(metrics, _EXPIRY)


def _time(metrics: str, name: str) -> str:
    seconds = _value(metrics, name)
    if seconds is None:
        return "unknown"
    if not seconds:
        return "never"
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _value(metrics: str, name: str) -> float | None:
    match = re.search(rf"^{name} ([0-9.eE+]+)$", metrics, re.MULTILINE)
    return float(match[1]) if match else None


def _selected(pod: dict[str, Any], selector: str) -> bool:
    wanted = [part.partition("=")[::2] for part in selector.split(",") if part]
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in wanted)
