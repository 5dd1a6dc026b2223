"""The gRPC service `io.linkerd.proxy.identity.Identity`."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio
import httpx2

from reference_mesh.control_plane import identities
from reference_mesh.control_plane.identity import csr, leaf
from reference_mesh.control_plane.kube.client import reason
from reference_mesh.control_plane.kube.events import Event
from reference_mesh.control_plane.kube.reflector import backoff_s
from reference_mesh.control_plane.logfmt import Log
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import identity_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from reference_mesh.control_plane.identity.authority import Authority
    from reference_mesh.control_plane.identity.issuer import Issuer
    from reference_mesh.control_plane.settings import Settings

__all__ = ["HELD_S", "Certifier", "Reviewer", "token_matches"]

_log = Log("identity")

HELD_S = 60.0
"""How long a call is held that cannot be answered yet. A failed one costs a real proxy 10 s."""

_MAX_NAME_BYTES = 253
_MAX_TOKEN_BYTES = 16_384
_MAX_HELD = 1_000
"""Calls held at once. Beyond that a call is refused, so that an outage costs bounded memory."""


class Reviewer(Protocol):
    """Who tells whom a token belongs to."""

    async def review(self, token: str) -> tuple[str, str]:
        """Service account as (namespace, name); InvalidInput when refused."""


class _Refusal(Exception):
    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


def token_matches(account: tuple[str, str], identity: str, settings: Settings) -> bool:
    """Whether the service account of a token may have this identity: its own and no other."""
    namespace, name = account
    return identity == identities.account_identity(
        name, namespace, mesh=settings.namespace, trust_domain=settings.trust_domain
    )


class Certifier:
    """Answers `Certify`."""

    def __init__(
        self,
        settings: Settings,
        authority: Authority,
        reviewer: Reviewer,
        record: Callable[[Event], None],
        *,
        held_s: float = HELD_S,
    ) -> None:
        self._settings = settings
        self._authority = authority
        self._reviewer = reviewer
        self._record = record
        self._held_s = held_s
        self._held = 0
        self.answers: Counter[str] = Counter()

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The service, for a gRPC server."""
        method = grpc.unary_unary_rpc_method_handler(
            self._certify,
            request_deserializer=identity_pb2.CertifyRequest.FromString,
            response_serializer=identity_pb2.CertifyResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            "io.linkerd.proxy.identity.Identity", {"Certify": method}
        )

    async def _certify(
        self, request: identity_pb2.CertifyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> identity_pb2.CertifyResponse:
        try:
            response = await self._answer(request)
        except _Refusal as refusal:
            self.answers[refusal.code.name] += 1
            _log.warning(
                "certificate refused",
                identity=request.identity[:_MAX_NAME_BYTES],
                code=refusal.code.name,
                error=refusal.why,
            )
            await context.abort(refusal.code, refusal.why)
            raise AssertionError from refusal  # abort raises
        self.answers["OK"] += 1
        return response

    async def _answer(self, request: identity_pb2.CertifyRequest) -> identity_pb2.CertifyResponse:
        identity = request.identity
        try:
            token = _well_formed(identity, request.token)
            key = csr.accepted_key(request.certificate_signing_request, identity)
        except InvalidInput as error:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        if self._held >= _MAX_HELD:
            raise _Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls are held")
        self._held += 1
        try:
            async with asyncio.timeout(self._held_s):
                account = await self._account(token)
                if not token_matches(account, identity, self._settings):
                    raise _Refusal(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"the token of service account {'/'.join(account)} is not for {identity}",
                    )
                if self._authority.usable is None:
                    _log.warning("no usable issuer; the call is held", identity=identity)
                issuer = await self._authority.wait_usable()
        except TimeoutError as error:
            raise _Refusal(
                grpc.StatusCode.UNAVAILABLE,
                f"no usable issuer or no answer to the token review within {self._held_s:g} s",
            ) from error
        finally:
            self._held -= 1
        return self._issued(issuer, identity, key)

    async def _account(self, token: str) -> tuple[str, str]:
        failures = 0
        while True:
            try:
                return await self._reviewer.review(token)
            except InvalidInput as error:
                raise _Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from error
            except httpx2.HTTPError as error:
                failures += 1
                if failures == 1:
                    _log.warning("token review failed; the call is held", error=reason(error))
            await asyncio.sleep(backoff_s(failures))

    def _issued(
        self, issuer: Issuer, identity: str, key: EllipticCurvePublicKey
    ) -> identity_pb2.CertifyResponse:
        made = leaf.issue(
            issuer,
            identity,
            key,
            now=dt.datetime.now(tz=dt.UTC),
            lifetime_s=self._settings.lifetime_s,
            clock_skew_s=self._settings.clock_skew_s,
        )
        until = f"{made.valid_until:%Y-%m-%dT%H:%M:%SZ}"
        serial = f"{made.serial:x}"
        _log.info("certificate issued", identity=identity, serial=serial, valid_until=until)
        self._record(
            Event(
                reason="IssuedLeafCertificate",
                message=f"issued certificate for {identity} until {until}: {serial}",
            )
        )
        response = identity_pb2.CertifyResponse(
            leaf_certificate=made.certificate, intermediate_certificates=made.intermediates
        )
        response.valid_until.FromDatetime(made.valid_until)
        return response


def _well_formed(identity: str, token: bytes) -> str:
    if not identity or len(identity) > _MAX_NAME_BYTES:
        raise InvalidInput(f"the identity is empty or over {_MAX_NAME_BYTES} bytes")
    if not token or len(token) > _MAX_TOKEN_BYTES:
        raise InvalidInput(f"the token is empty or over {_MAX_TOKEN_BYTES} bytes")
    try:
        return token.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidInput("the token is not text") from error
