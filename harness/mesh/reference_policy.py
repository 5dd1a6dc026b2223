"""Intents in the dialect of Linkerd's policy resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.mesh.intents import Intent, Protocol, Source, Target, TlsMode, TlsPolicy

if TYPE_CHECKING:
    from harness.mesh.protocol import Resource

__all__ = ["express"]

_POLICY_API = "policy.linkerd.io"


def express(intent: Intent) -> list[Resource]:
    """An authorization for each source, and a Server for the target."""
    target = intent.target
    if isinstance(intent, TlsPolicy):
        strict = intent.mode is TlsMode.STRICT
        access = "all-authenticated" if strict else "all-unauthenticated"
        return [_server(intent.name, target, access=access)]
    made: list[Resource] = []
    for number, source in enumerate(intent.sources):
        made += _authorization(f"{intent.name}-{number}", intent.name, target, source)
    # Last, so that nobody who is admitted is denied in between, and connections live on.
    return [*made, _server(intent.name, target, access="deny")]


def _server(name: str, target: Target, *, access: str) -> Resource:
    protocols = {
        Protocol.DETECT: "unknown",
        Protocol.HTTP1: "HTTP/1",
        Protocol.HTTP2: "HTTP/2",
        Protocol.GRPC: "gRPC",
        Protocol.OPAQUE: "opaque",
    }
    return {
        "apiVersion": f"{_POLICY_API}/v1beta3",
        "kind": "Server",
        "metadata": {"name": name, "namespace": target.namespace},
        "spec": {
            "podSelector": {"matchLabels": target.labels},
            "port": target.port,
            "proxyProtocol": protocols[target.protocol],
            "accessPolicy": access,
        },
    }


def _authorization(name: str, server: str, target: Target, source: Source) -> list[Resource]:
    """An AuthorizationPolicy on the server, and the authentication that it requires."""
    if source.service_account:
        namespace, account = source.service_account
        spec: Resource = {
            "identityRefs": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]
        }
    elif source.namespace:
        spec = {"identityRefs": [{"kind": "Namespace", "name": source.namespace}]}
    else:
        spec = {"identities": ["*"]}
    metadata = {"name": name, "namespace": target.namespace}
    return [
        {
            "apiVersion": f"{_POLICY_API}/v1alpha1",
            "kind": "MeshTLSAuthentication",
            "metadata": metadata,
            "spec": spec,
        },
        {
            "apiVersion": f"{_POLICY_API}/v1alpha1",
            "kind": "AuthorizationPolicy",
            "metadata": metadata,
            "spec": {
                "targetRef": {"group": _POLICY_API, "kind": "Server", "name": server},
                "requiredAuthenticationRefs": [
                    {"group": _POLICY_API, "kind": "MeshTLSAuthentication", "name": name}
                ],
            },
        },
    ]
