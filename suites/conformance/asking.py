"""Asking a mesh's issuer for certificates, as a workload does and as nobody should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ServiceAccountToken

from harness.workload.plans import Messages, Plan

if TYPE_CHECKING:
    from harness.mesh.issuance import GrpcCall
    from harness.workload.calls import Caller
    from harness.workload.records import Outcome
    from suites.member import Member

__all__ = ["ask", "token"]

_LIFETIME_S = 600
"""The shortest that Kubernetes gives out."""


def token(member: Member, audience: str | None = None) -> str:
    """A token of a member's service account; for the mesh's issuer, unless told otherwise."""
    lab = member.space.lab
    account, namespace = member.role.account, member.space.name
    request = ServiceAccountToken(
        metadata=ObjectMeta(name=account, namespace=namespace),
        spec=TokenRequestSpec(
            audiences=[audience or lab.mesh.issuer().token_audience],
            expirationSeconds=_LIFETIME_S,
        ),
    )
    answer = lab.cluster.client().create(request, account, namespace=namespace)
    assert answer.status is not None
    assert answer.status.token is not None
    return answer.status.token


def ask(caller: Caller, call: GrpcCall, *, count: int = 1) -> list[Outcome]:
    """Make the call that asks for a certificate; `ok` outcomes have got one."""
    message = Messages(payload_hex=call.message.hex())
    plan = Plan(url=call.url, protocol="grpc", messages=message, count=count, concurrency=4)
    return caller.call(plan)
