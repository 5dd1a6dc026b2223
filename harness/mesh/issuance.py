"""
What issues a mesh's certificates, as the checks of identity ask it, replace it and forge it.

`Mesh.issuer` gives it. A mesh whose issuer the harness can neither name nor replace raises
`Unsupported` there.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.mesh.protocol import Resource

if TYPE_CHECKING:
    from harness.cluster import Cluster

__all__ = ["GrpcCall", "Issuer", "Request", "RotationStep"]


class Request(enum.Enum):
    """What a signing request says: what it should, or something that must be refused."""

    PROPER = "proper"
    OTHER_NAME = "the name of another workload"
    SECOND_NAME = "a second name"
    OTHER_KEY_TYPE = "an RSA key"


class GrpcCall(msgspec.Struct, frozen=True):
    """One unary call: the URL of its method, and the encoded message."""

    url: str
    message: bytes


class RotationStep(msgspec.Struct, frozen=True, kw_only=True):
    """
    One step of the replacement of a trust anchor.

    what: for the log of the check. resources: to be applied.
    restart: whether control plane and workloads must be restarted to notice.
    reissue: whether workloads must have new certificates before the next step.
    """

    what: str
    resources: Sequence[Resource]
    restart: bool = False
    reissue: bool = False


class Issuer(Protocol):
    """
    The issuer of one installation.

    namespace, deployment: what runs it.
    token_audience: of the tokens that it takes.
    """

    namespace: str
    deployment: str
    token_audience: str

    def trust_anchors(self) -> str:
        """The anchors to which an honest peer's chain leads, as PEM text."""

    def certify(self, identity: str, token: str, request: Request = Request.PROPER) -> GrpcCall:
        """The call by which a workload asks for a certificate."""

    def issued(self, cluster: Cluster, identity: str) -> int:
        """How many certificates it says to have issued for `identity`."""

    def replaced(self, lifetime_s: float) -> list[Resource]:
        """Resources that put another issuer, valid for so long, under the same anchor."""

    def rotation(self) -> list[RotationStep]:
        """Steps that replace the trust anchor without an interruption, and the issuer with it."""

    def original(self) -> list[Resource]:
        """Resources that put anchor and issuer back as they were installed."""
