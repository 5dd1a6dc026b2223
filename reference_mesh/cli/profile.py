"""`refmesh profile`: a ServiceProfile to start from."""

from __future__ import annotations

import click

from reference_mesh.cli.options import Where, where_options
from reference_mesh.control_plane.validator import check
from reference_mesh.errors import UsageError
from reference_mesh.manifests import documents

__all__ = ["command"]


@click.command("profile")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of the service.")
@click.option("--template", is_flag=True, help="A profile with an example of each field.")
@click.option(
    "--cluster-domain", default="cluster.local", show_default=True, help="Domain of the cluster."
)
@click.argument("service")
@where_options
def command(
    where: Where, service: str, *, namespace: str, template: bool, cluster_domain: str
) -> None:
    """Output a service profile to fill in; pipe it into `kubectl apply -f -`."""
    del where
    if not template:
        raise UsageError("say --template: a profile is made from a template here, nothing else")
    document = {
        "apiVersion": "linkerd.io/v1alpha2",
        "kind": "ServiceProfile",
        "metadata": {
            "name": f"{service}.{namespace}.svc.{cluster_domain}",
            "namespace": namespace,
        },
        "spec": {
            "routes": [
                {
                    "name": "GET /books/{id}",
                    "condition": {"method": "GET", "pathRegex": "/books/[^/]+"},
                    "timeout": "1s",
                    "isRetryable": True,
                    "retryConditions": ["status_5xx"],
                    "responseClasses": [
                        {"condition": {"status": {"min": 500, "max": 599}}, "isFailure": True}
                    ],
                }
            ],
            "retryBudget": {"retryRatio": 0.2, "minRetriesPerSecond": 10, "ttl": "10s"},
        },
    }
    check("linkerd.io", "ServiceProfile", document)
    click.echo(documents.dump(document), nl=False)
