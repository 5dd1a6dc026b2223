"""HTTPRoute of `policy.linkerd.io`: the Gateway API's, for Servers and Services as parents."""

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
    crd,
    integer,
    one_of,
    record,
    text,
)
from reference_mesh.manifests.crds.servers import CONDITIONS, GROUP

__all__ = ["documents"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_HEADER_NAME: Schema = text(pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$", least=1, most=256)

_PARENT: Schema = record(
    {
        "group": text(most=253, default="policy.linkerd.io"),
        "kind": text(least=1, most=63, default="Server"),
        "namespace": NAME,
        "name": NAME,
        "sectionName": NAME,
        "port": PORT,
    },
    "name",
)


def documents() -> list[dict[str, Any]]:
    """The definition."""
    versions = (
        _version("v1alpha1"),
        _version("v1beta1"),
        _version("v1beta2"),
        _version("v1beta3", stored=True),
    )
    return [crd(GROUP, "HTTPRoute", "httproutes", versions)]


def _version(name: str, *, stored: bool = False) -> Version:
    spec = record(
        {
            "parentRefs": array(_PARENT, most=32),
            "hostnames": array(text(least=1, most=253), most=16),
            "rules": array(_rule(), most=16),
        }
    )
    parent = record(
        {
            "parentRef": _PARENT,
            "controllerName": STR,
            **CONDITIONS["properties"],
        },
        "parentRef",
        "controllerName",
    )
    status = record({"parents": array(parent)}, "parents")
    return Version(name=name, spec=spec, status=status, stored=stored)


def _rule() -> Schema:
    backend = record(
        {
            "group": text(most=253),
            "kind": text(least=1, most=63),
            "name": NAME,
            "namespace": NAME,
            "port": PORT,
            "weight": {**integer(0, 1_000_000), "default": 1},
            "filters": array(_filter(), most=16),
        },
        "name",
    )
    return record(
        {
            "matches": array(_match(), most=8),
            "filters": array(_filter(), most=16),
            "backendRefs": array(backend, most=16),
            "timeouts": record({"request": DURATION, "backendRequest": DURATION}),
        }
    )


def _match() -> Schema:
    value = record(
        {
            "type": text(of=("Exact", "RegularExpression"), default="Exact"),
            "name": _HEADER_NAME,
            "value": text(most=4096),
        },
        "name",
        "value",
    )
    path = record(
        {
            "type": text(of=("Exact", "PathPrefix", "RegularExpression"), default="PathPrefix"),
            "value": text(most=1024, default="/"),
        }
    )
    return record(
        {
            "path": path,
            "headers": array(value, most=16),
            "queryParams": array(value, most=16),
            "method": text(of=_METHODS),
        }
    )


def _filter() -> Schema:
    header = record({"name": _HEADER_NAME, "value": text(least=1, most=4096)}, "name", "value")
    modifier = record(
        {
            "add": array(header, most=16),
            "set": array(header, most=16),
            "remove": array(STR, most=16),
        }
    )
    path = one_of(
        record(
            {
                "type": text(of=("ReplaceFullPath", "ReplacePrefixMatch")),
                "replaceFullPath": text(most=1024),
                "replacePrefixMatch": text(most=1024),
            },
            "type",
        ),
        "replaceFullPath",
        "replacePrefixMatch",
    )
    redirect = record(
        {
            "scheme": text(of=("http", "https")),
            "hostname": text(least=1, most=253),
            "path": path,
            "port": PORT,
            "statusCode": {"type": "integer", "enum": [301, 302, 303, 307, 308], "default": 302},
        }
    )
    kinds = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect")
    return record(
        {
            "type": text(of=kinds),
            "requestHeaderModifier": modifier,
            "responseHeaderModifier": modifier,
            "requestRedirect": redirect,
        },
        "type",
    )
