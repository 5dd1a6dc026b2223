"""What must hold of the policy kinds beyond their schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.validator.fields import cidr, members
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.control_plane.validator.fields import Path

__all__ = [
    "authorization_policy",
    "mesh_tls_authentication",
    "network_authentication",
    "rate_limit",
    "server",
    "server_authorization",
]

_POLICY = "policy.linkerd.io"
_GATEWAY = "gateway.networking.k8s.io"
_PROTOCOLS = ("unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS")
_TARGETS = (
    ("", "Namespace"),
    (_POLICY, "Server"),
    (_POLICY, "HTTPRoute"),
    (_GATEWAY, "HTTPRoute"),
    (_GATEWAY, "GRPCRoute"),
)
_AUTHENTICATIONS = (
    (_POLICY, "MeshTLSAuthentication"),
    (_POLICY, "NetworkAuthentication"),
    ("", "ServiceAccount"),
)
_OF_IDENTITY = {"MeshTLSAuthentication", "ServiceAccount"}


def server(document: dict[str, Any], path: Path) -> None:
    """A Server selects pods or workloads on one port, with a protocol and a policy that exist."""
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    selectors = [name for name in ("podSelector", "externalWorkloadSelector") if name in spec]
    if len(selectors) != 1:
        raise path.error("needs either podSelector or externalWorkloadSelector")
    members(spec[selectors[0]], path / selectors[0])
    port = spec.get("port")
    if isinstance(port, bool) or not isinstance(port, int | str) or port == "":
        raise (path / "port").error("expected a port's number or name")
    if isinstance(port, int) and not 0 < port <= 65535:
        raise (path / "port").error(f"{port} is not a port")
    _among(spec.get("proxyProtocol", "unknown"), _PROTOCOLS, path / "proxyProtocol")
    _among(spec.get("accessPolicy", "deny"), names.DEFAULT_POLICIES, path / "accessPolicy")


def server_authorization(document: dict[str, Any], path: Path) -> None:
    """A ServerAuthorization names servers one way, and clients that do not contradict."""
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    chosen = members(spec.get("server"), path / "server")
    if len({"name", "selector"} & set(chosen)) != 1:
        raise (path / "server").error("needs either name or selector")
    client, path = members(spec.get("client"), path / "client"), path / "client"
    _networks(client.get("networks"), path / "networks")
    tls = members(client.get("meshTLS"), path / "meshTLS")
    if client.get("unauthenticated") and tls:
        raise path.error("unauthenticated and meshTLS exclude each other")
    if not client.get("unauthenticated") and not tls:
        raise path.error("needs either unauthenticated: true or meshTLS")
    named = [name for name in ("identities", "serviceAccounts") if tls.get(name)]
    if tls.get("unauthenticatedTLS") and named:
        raise (path / "meshTLS").error(f"unauthenticatedTLS and {named[0]} exclude each other")
    if tls and not tls.get("unauthenticatedTLS") and not named:
        raise (path / "meshTLS").error("names no identity and no service account")
    for index, identity in enumerate(tls.get("identities") or ()):
        _identity(identity, (path / "meshTLS" / "identities")[index])


def authorization_policy(document: dict[str, Any], path: Path) -> None:
    """An AuthorizationPolicy has one target of its own namespace and asks for each thing once."""
    namespace = members(document.get("metadata"), path / "metadata").get("namespace")
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    target = _reference(spec.get("targetRef"), _TARGETS, path / "targetRef")
    if target.get("namespace") not in {None, namespace}:
        raise (path / "targetRef" / "namespace").error("a policy applies to its own namespace only")
    if target.get("kind") == "Namespace" and target.get("name") != namespace:
        raise (path / "targetRef" / "name").error(
            f'a policy applies to its own namespace only; expected "{namespace}"'
        )
    path /= "requiredAuthenticationRefs"
    required = spec.get("requiredAuthenticationRefs")
    if not isinstance(required, list):
        raise path.error("expected a list; an empty one lets everybody in")
    kinds = [
        _reference(item, _AUTHENTICATIONS, path[index])["kind"]
        for index, item in enumerate(required)
    ]
    if sum(kind in _OF_IDENTITY for kind in kinds) > 1:
        raise path.error("at most one MeshTLSAuthentication or ServiceAccount")
    if kinds.count("NetworkAuthentication") > 1:
        raise path.error("at most one NetworkAuthentication")


def mesh_tls_authentication(document: dict[str, Any], path: Path) -> None:
    """A MeshTLSAuthentication lists identities, or references, and at least one."""
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    identities, references = spec.get("identities"), spec.get("identityRefs")
    if (identities is None) == (references is None):
        raise path.error("needs either identities or identityRefs")
    if not (identities or references):
        raise path.error("needs at least one identity")
    for index, identity in enumerate(identities or ()):
        _identity(identity, (path / "identities")[index])
    allowed = (("", "ServiceAccount"), ("", "Namespace"))
    for index, item in enumerate(references or ()):
        place = (path / "identityRefs")[index]
        reference = _reference(item, allowed, place)
        if reference["kind"] == "Namespace" and reference.get("namespace"):
            raise (place / "namespace").error("a Namespace has no namespace")


def network_authentication(document: dict[str, Any], path: Path) -> None:
    """A NetworkAuthentication lists networks, with exceptions inside them."""
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    if not spec.get("networks"):
        raise (path / "networks").error("needs at least one network")
    _networks(spec["networks"], path / "networks")


def rate_limit(document: dict[str, Any], path: Path) -> None:
    """A HTTPLocalRateLimitPolicy limits one Server, no client more than all together."""
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    _reference(spec.get("targetRef"), ((_POLICY, "Server"),), path / "targetRef")
    if not any(spec.get(limit) for limit in ("total", "identity", "overrides")):
        raise path.error("needs total, identity or overrides")
    total = _rate(spec.get("total"), path / "total")
    parts = {path / "identity": spec.get("identity")} | {
        (path / "overrides")[index]: item for index, item in enumerate(spec.get("overrides") or ())
    }
    for place, item in parts.items():
        rate = _rate(item, place)
        if total is not None and rate is not None and rate > total:
            raise (place / "requestsPerSecond").error(f"{rate} exceeds total, which is {total}")
    for index, item in enumerate(spec.get("overrides") or ()):
        place = (path / "overrides")[index] / "clientRefs"
        if not item.get("clientRefs"):
            raise place.error("needs at least one client")
        for number, client in enumerate(item["clientRefs"]):
            _reference(client, (("", "ServiceAccount"),), place[number])


def _rate(value: Any, path: Path) -> int | None:
    if value is None:
        return None
    rate = members(value, path).get("requestsPerSecond")
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise (path / "requestsPerSecond").error("expected a whole number of at least 1")
    return rate


def _networks(value: Any, path: Path) -> None:
    for index, item in enumerate(value or ()):
        place = path[index]
        network = cidr(members(item, place).get("cidr"), place / "cidr")
        for number, text in enumerate(item.get("except") or ()):
            inner = (place / "except")[number]
            hole = cidr(text, inner)
            if hole.version != network.version or not hole.subnet_of(network):  # type: ignore[arg-type]
                raise inner.error(f"{hole} is not inside {network}")
            if hole == network:
                raise inner.error(f"takes away all of {network}")


def _reference(value: Any, allowed: Sequence[tuple[str, str]], path: Path) -> dict[str, Any]:
    """A reference to one of some kinds; `core` is another name of the nameless group."""
    reference = members(value, path)
    group, kind = reference.get("group") or "", reference.get("kind")
    group = "" if group == "core" else group
    if (group, kind) not in allowed:
        shown = ", ".join(f"{name}.{of}" if of else name for of, name in allowed)
        found = f"{kind}.{group}" if group else f"{kind}"
        raise path.error(f"{found} cannot stand here; expected one of {shown}")
    if not reference.get("name"):
        raise (path / "name").error("expected a name")
    return reference


def _identity(value: Any, path: Path) -> None:
    """A whole identity, `*`, or `*.` and a suffix."""
    if not isinstance(value, str) or not value:
        raise path.error("expected an identity")
    rest = value.removeprefix("*.")
    if value != "*" and ("*" in rest or not rest):
        raise path.error(f'"{value}": an asterisk stands alone or before a suffix like *.example')


def _among(value: Any, allowed: Sequence[str], path: Path) -> None:
    if value not in allowed:
        raise path.error(f'"{value}" is not one of {", ".join(allowed)}')
