"""
ServiceProfile: routes of a service, with Linkerd's fields and three of this mesh's own.

Its own are `retryConditions` of a route, `outlierDetection` of a service, and routes that go to
another service by header (`condition.headers`, `destination.service`).
"""

from __future__ import annotations

from typing import Any

from reference_mesh.manifests.crds.schema import (
    DURATION,
    NAME,
    STR,
    Schema,
    Version,
    array,
    crd,
    integer,
    mapping,
    record,
    text,
)

__all__ = ["GROUP", "RETRY_CONDITION", "documents"]

GROUP = "linkerd.io"

RETRY_CONDITION = r"^(status_([1-5]xx|[1-5][0-9][0-9])|reset|connect_failure|timeout)$"
"""Form of one retry condition."""

_ANY: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_STATUS: Schema = record({"min": integer(100, 599), "max": integer(100, 599)})


def documents() -> list[dict[str, Any]]:
    """The definition."""
    spec = record(
        {
            "routes": array(_route()),
            "retryBudget": _budget(),
            "dstOverrides": array(_override()),
            "opaquePorts": array(STR),
            "outlierDetection": _outlier_detection(),
        }
    )
    versions = (
        Version(name="v1alpha1", spec=spec, served=True, spec_required=False),
        Version(name="v1alpha2", spec=spec, stored=True, spec_required=False),
    )
    return [crd(GROUP, "ServiceProfile", "serviceprofiles", versions, short=("sp",))]


def _route() -> Schema:
    return record(
        {
            "name": text(least=1),
            "condition": _request_match(),
            "responseClasses": array(
                record({"condition": _response_match(), "isFailure": _BOOL, "isSuccess": _BOOL})
            ),
            "isRetryable": _BOOL,
            "retryConditions": array(text(pattern=RETRY_CONDITION), most=16),
            "timeout": DURATION,
            "destination": record({"service": NAME}, "service"),
        },
        "name",
    )


def _request_match() -> Schema:
    return record(
        {
            "method": STR,
            "pathRegex": STR,
            "path": STR,
            "headers": mapping(STR),
            # Conditions nest without bound, which a structural schema cannot say; the webhook can.
            "all": array(_ANY),
            "any": array(_ANY),
            "not": _ANY,
        }
    )


def _response_match() -> Schema:
    return record({"status": _STATUS, "all": array(_ANY), "any": array(_ANY), "not": _ANY})


def _budget() -> Schema:
    ratio = {"type": "number", "minimum": 0, "maximum": 1000}
    return record(
        {"retryRatio": ratio, "minRetriesPerSecond": integer(0), "ttl": DURATION},
        "retryRatio",
        "minRetriesPerSecond",
        "ttl",
    )


def _override() -> Schema:
    return record(
        {"authority": text(least=1), "weight": {"x-kubernetes-int-or-string": True}},
        "authority",
        "weight",
    )


def _outlier_detection() -> Schema:
    return record(
        {
            "consecutiveErrors": integer(1),
            "interval": DURATION,
            "baseEjectionTime": DURATION,
            "maxEjectionTime": DURATION,
            "maxEjectionPercent": integer(0, 100),
        },
        "consecutiveErrors",
    )


_BOOL: Schema = {"type": "boolean"}
