"""Kinds that shift traffic: SMI's TrafficSplit, and Canary, which drives one."""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests.crds.schema import (
    DURATION,
    NAME,
    PORT,
    STR,
    Schema,
    Version,
    array,
    column,
    crd,
    integer,
    mapping,
    record,
    text,
)
from reference_mesh.manifests.crds.servers import CONDITIONS

__all__ = ["documents"]


def documents() -> list[dict[str, Any]]:
    """The definitions."""
    return [_traffic_split(), _canary()]


def _traffic_split() -> dict[str, Any]:
    quantity: Schema = {"x-kubernetes-int-or-string": True}
    matches = array(record({"kind": NAME, "name": NAME, "apiGroup": STR}, "kind", "name"))
    versions = []
    for name, weight in (
        ("v1alpha1", quantity),
        ("v1alpha2", integer(0)),
        ("v1alpha3", integer(0)),
        ("v1alpha4", integer(0)),
    ):
        backend = record({"service": NAME, "weight": weight}, "service", "weight")
        members: dict[str, Schema] = {"service": NAME, "backends": array(backend, least=1)}
        if name in {"v1alpha3", "v1alpha4"}:
            members["matches"] = matches
        spec = record(members, "service", "backends")
        columns = (column("Service", ".spec.service", "The apex service of this split"),)
        # Stored as the version with every field; nothing is lost by reading it as an older one.
        stored = name == "v1alpha4"
        versions.append(Version(name=name, spec=spec, columns=columns, stored=stored))
    return crd("split.smi-spec.io", "TrafficSplit", "trafficsplits", versions, short=("ts",))


def _canary() -> dict[str, Any]:
    target = record(
        {"apiVersion": STR, "kind": text(of=("Deployment",)), "name": NAME}, "kind", "name"
    )
    port: Schema = {"x-kubernetes-int-or-string": True}
    service = record({"name": NAME, "port": PORT, "portName": STR, "targetPort": port}, "port")
    metric = record(
        {
            "name": text(least=1),
            "interval": DURATION,
            "threshold": {"type": "number"},
            "thresholdRange": record({"min": {"type": "number"}, "max": {"type": "number"}}),
        },
        "name",
    )
    webhook = record(
        {
            "name": text(least=1),
            "type": STR,
            "url": text(least=1),
            "timeout": DURATION,
            "metadata": mapping(STR),
        },
        "name",
        "url",
    )
    analysis = record(
        {
            "interval": DURATION,
            "threshold": integer(1),
            "maxWeight": integer(1, 100),
            "stepWeight": integer(1, 100),
            "stepWeights": array(integer(0, 100)),
            "stepWeightPromotion": integer(1, 100),
            "iterations": integer(1),
            "metrics": array(metric),
            "webhooks": array(webhook),
        },
        "interval",
        "threshold",
    )
    spec = record(
        {
            "targetRef": target,
            "service": service,
            "analysis": analysis,
            "provider": STR,
            "progressDeadlineSeconds": integer(1),
            "skipAnalysis": {"type": "boolean"},
            "suspend": {"type": "boolean"},
        },
        "targetRef",
        "service",
        "analysis",
    )
    status = record(
        {
            "phase": STR,
            "canaryWeight": integer(0, 100),
            "failedChecks": integer(0),
            "iterations": integer(0),
            "lastAppliedSpec": STR,
            "lastPromotedSpec": STR,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "trackedConfigs": mapping(STR),
            **CONDITIONS["properties"],
        }
    )
    columns = (
        column("Status", ".status.phase", "Where the release stands"),
        column("Weight", ".status.canaryWeight", "Share of the new version, per cent", "integer"),
        column("LastTransitionTime", ".status.lastTransitionTime", "When the phase began"),
    )
    versions = (Version(name="v1beta1", spec=spec, status=status, columns=columns, stored=True),)
    return crd("flagger.app", "Canary", "canaries", versions, short=("cd",))
