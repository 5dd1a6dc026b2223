"""
What there is to ask for, in both forms: aggregated, for kubectl, and the legacy lists.

The aggregated form is told by its Content-Type alone; kubectl takes plain JSON for the legacy form.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api.answers import json_answer
from harness.cluster.embedded.status import NotFound

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from harness.cluster.embedded.resources import Registry, Resource

__all__ = ["Discovery"]

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_KUBE_VERSION = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")
_SUBRESOURCE_VERBS = {
    "eviction": ["create"],
    "finalize": ["update"],
    "log": ["get"],
    "proxy": ["create", "delete", "get", "patch", "update"],
    "scale": ["get", "patch", "update"],
    "status": ["get", "patch", "update"],
    "token": ["create"],
}
_SUBRESOURCE_KINDS = {
    "eviction": ("policy", "v1", "Eviction"),
    "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}


class Discovery:
    """Describes the kinds of a registry, as they are at the moment of the request."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def answer(self, request: Request, segments: list[str]) -> Response:
        """The answer at this path. Raises NotFound, also for what is no part of discovery."""
        match segments:
            case ["api" | "apis"]:
                return self._groups(request, core=segments == ["api"])
            case ["api", version]:
                return self._resources(version, "")
            case ["apis", group]:
                return self._group(group)
            case ["apis", group, version]:
                return self._resources(version, group)
        raise NotFound

    def _groups(self, request: Request, *, core: bool) -> Response:
        accepted = request.headers.get("accept", "").partition(",")[0].replace(" ", "")
        if "as=APIGroupDiscoveryList" in accepted and "v=v2;" in f"{accepted};":
            return json_answer(self._aggregated(core=core), media_type=_AGGREGATED)
        if core:
            content: dict[str, Any] = {"kind": "APIVersions", "versions": ["v1"]}
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
            return json_answer({**content, "serverAddressByClientCIDRs": addresses})
        groups = [_group(name, versions) for name, versions in self._versions() if name]
        return json_answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def _group(self, name: str) -> Response:
        versions = dict(self._versions()).get(name)
        if not name or versions is None:
            raise NotFound
        content = {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}
        return json_answer(content)

    def _resources(self, version: str, group: str) -> Response:
        resources = [one for one in self._registry if (group, version) in _served(one)]
        if not resources:
            raise NotFound
        return json_answer(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{group}/{version}" if group else version,
                "resources": [entry for one in resources for entry in _legacy(one)],
            }
        )

    def _versions(self) -> list[tuple[str, list[str]]]:
        """Groups in the order of their registration, each with its versions, best first."""
        versions: dict[str, set[str]] = {}
        for resource in self._registry:
            versions.setdefault(resource.group, set()).update(resource.versions)
        return [(group, sorted(found, key=_rank)) for group, found in versions.items()]

    def _aggregated(self, *, core: bool) -> dict[str, Any]:
        items = []
        for group, versions in self._versions():
            if (group == "") is not core:
                continue
            items.append(
                {
                    "metadata": {"name": group} if group else {},
                    "versions": [
                        {
                            "version": version,
                            "freshness": "Current",
                            "resources": [
                                _described(one, version)
                                for one in self._registry
                                if (group, version) in _served(one)
                            ],
                        }
                        for version in versions
                    ],
                }
            )
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }


def _served(resource: Resource) -> set[tuple[str, str]]:
    return {(resource.group, version) for version in resource.versions}


def _rank(version: str) -> tuple[int, int, int]:
    """Order of versions: v2, v1, v2beta1, v1beta2, v1alpha1, then others."""
    found = _KUBE_VERSION.match(version)
    if found is None:
        return (3, 0, 0)
    major, stage, minor = found.groups()
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0))


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _described(resource: Resource, version: str) -> dict[str, Any]:
    kind = {"group": resource.group, "version": version, "kind": resource.kind}
    described: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        described["shortNames"] = list(resource.short_names)
    if resource.categories:
        described["categories"] = list(resource.categories)
    subresources = []
    for name in resource.subresources:
        if name in _SUBRESOURCE_VERBS:
            group, version_, kind_ = _SUBRESOURCE_KINDS.get(
                name, (resource.group, version, resource.kind)
            )
            response = {"group": group, "version": version_, "kind": kind_}
            entry = {"subresource": name, "responseKind": response}
            subresources.append({**entry, "verbs": _SUBRESOURCE_VERBS[name]})
    if subresources:
        described["subresources"] = subresources
    return described


def _legacy(resource: Resource) -> list[dict[str, Any]]:
    common = {"namespaced": resource.namespaced, "kind": resource.kind}
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        **common,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name in resource.subresources:
        if name in _SUBRESOURCE_VERBS:
            below = {"name": f"{resource.plural}/{name}", "singularName": "", **common}
            if name in _SUBRESOURCE_KINDS:
                group, version, kind = _SUBRESOURCE_KINDS[name]
                below |= {"group": group, "version": version, "kind": kind}
            entries.append({**below, "verbs": _SUBRESOURCE_VERBS[name]})
    return entries
