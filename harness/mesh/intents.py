"""
What a check wants of a mesh, in words that no mesh owns.

A check says *that* a port takes no plaintext, never *how*. A driver turns an intent into resources
of its mesh (`Mesh.express`) or raises `Unsupported`. An intent names its target by namespace, pod
labels and port, for that is what all meshes share.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = ["Authorize", "Intent", "Protocol", "Source", "Target", "TlsMode", "TlsPolicy"]


class Protocol(enum.Enum):
    """How a mesh should treat a port: find out itself, or be told."""

    DETECT = "detect"
    HTTP1 = "http1"
    HTTP2 = "http2"
    GRPC = "grpc"
    OPAQUE = "opaque"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The pods of one namespace that carry all of `labels`, at one port."""

    namespace: str
    labels: dict[str, str]
    port: int
    protocol: Protocol = Protocol.DETECT


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """
    Who may call. Exactly one field is set.

    service_account: a `(namespace, name)` pair.
    namespace: every service account of that namespace.
    authenticated: anyone whom the mesh has authenticated.
    """

    service_account: tuple[str, str] | None = None
    namespace: str | None = None
    authenticated: bool = False

    def __post_init__(self) -> None:
        chosen = [self.service_account is not None, self.namespace is not None, self.authenticated]
        if sum(chosen) != 1:
            raise ValueError(f"a source is one thing: {self}")


class TlsMode(enum.Enum):
    """What a port accepts: only mesh TLS, or plaintext as well."""

    STRICT = "strict"
    PERMISSIVE = "permissive"


class TlsPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The target accepts connections as `mode` says, from anyone whom the mode admits."""

    name: str
    target: Target
    mode: TlsMode


class Authorize(msgspec.Struct, frozen=True, kw_only=True):
    """
    The target accepts requests from `sources` and from nobody else.

    An empty `sources` denies everybody.
    """

    name: str
    target: Target
    sources: tuple[Source, ...] = ()


Intent = TlsPolicy | Authorize
