"""
As much OpenAPI as kubectl needs to leave validation to the server.

v3: for each kind a `patch` operation with the parameter `fieldValidation`. v2: an empty document in
protobuf, which it can decode. Schemas, and so `kubectl explain`, are not served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from harness.cluster.embedded.api.answers import json_answer
from harness.cluster.embedded.status import NotFound

if TYPE_CHECKING:
    from harness.cluster.embedded.resources import Registry, Resource

__all__ = ["answer"]

_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""With dots: the `@` that kubectl asks with is no valid media type."""

_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("dryRun", "fieldManager", "fieldValidation", "force")
]


def answer(registry: Registry, rest: list[str]) -> Response:
    """The document at /openapi/REST. Raises NotFound."""
    match rest:
        case ["v2"]:
            return Response(b"", media_type=_V2_TYPE)
        case ["v3"]:
            paths = dict.fromkeys(
                _path(one, version) for one in registry for version in one.versions
            )
            links = {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}
            return json_answer({"paths": links})
        case ["v3", "api", version]:
            return _document(registry, f"api/{version}")
        case ["v3", "apis", group, version]:
            return _document(registry, f"apis/{group}/{version}")
    raise NotFound


def _path(resource: Resource, version: str) -> str:
    return f"apis/{resource.group}/{version}" if resource.group else f"api/{version}"


def _document(registry: Registry, path: str) -> Response:
    paths: dict[str, Any] = {}
    for resource in registry:
        for version in resource.versions:
            if _path(resource, version) != path:
                continue
            inside = "namespaces/{namespace}/" if resource.namespaced else ""
            kind = {"group": resource.group, "version": version, "kind": resource.kind}
            paths[f"/{path}/{inside}{resource.plural}/{{name}}"] = {
                "patch": {
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": kind,
                    "parameters": _PARAMETERS,
                    "responses": {"200": {"description": "OK"}},
                }
            }
    if not paths:
        raise NotFound
    info = {"title": "meshmark", "version": "v1.34.0"}
    return json_answer(
        {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
    )
