"""ExternalWorkload: a meshed process outside the cluster."""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests.crds.schema import (
    NAME,
    PORT,
    STR,
    Version,
    array,
    column,
    crd,
    record,
    text,
)
from reference_mesh.manifests.crds.servers import CONDITIONS

__all__ = ["documents"]


def documents() -> list[dict[str, Any]]:
    """The definition."""
    port = record(
        {"name": STR, "port": PORT, "protocol": text(of=("TCP", "UDP", "SCTP"), default="TCP")},
        "port",
    )
    spec = record(
        {
            "meshTLS": record(
                {"identity": text(least=1), "serverName": NAME}, "identity", "serverName"
            ),
            "ports": array(port),
            "workloadIPs": array(record({"ip": text(least=1)}, "ip"), least=1, most=2),
        },
        "meshTLS",
    )
    columns = (column("Identity", ".spec.meshTLS.identity", "The identity of the workload"),)
    versions = (
        Version(name="v1alpha1", spec=spec, status=CONDITIONS, columns=columns),
        Version(name="v1beta1", spec=spec, status=CONDITIONS, columns=columns, stored=True),
    )
    return [crd("workload.linkerd.io", "ExternalWorkload", "externalworkloads", versions)]
