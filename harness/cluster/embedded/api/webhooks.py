"""
Admission webhooks: who is asked, over TLS, and what their answers do to an object.

Semantics: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/.
Mutating webhooks run once, in the order of their configurations' names; `reinvocationPolicy` is
taken as Never. `matchConditions` are refused where a configuration is written, see `rules`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import logging
import ssl
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.cluster.embedded.api import jsonpatch
from harness.cluster.embedded.api.wire import Exchange, WireError
from harness.cluster.embedded.selectors import label_selector_matches
from harness.cluster.embedded.status import (
    ApiError,
    BadRequest,
    Forbidden,
    InternalError,
    NotFound,
    Unprocessable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from harness.cluster.embedded.api.node import NodeApi
    from harness.cluster.embedded.api.tokens import User
    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["Admission", "Review"]

_LOG = logging.getLogger(__name__)
_GROUP = "admissionregistration.k8s.io"
_ANSWER_LIMIT_BYTES = 3 * 1024 * 1024
"""As much as an object may have."""


@dataclass(slots=True)
class Review:
    """A write that webhooks are asked about. `object` changes as they patch it."""

    resource: Resource
    version: str
    operation: str
    object: Obj | None
    old: Obj | None
    user: User
    dry_run: bool = False
    subresource: str = ""
    options: Obj = field(default_factory=dict)

    @property
    def subject(self) -> Obj:
        """The object, or what is left of it in a deletion."""
        subject = self.object or self.old
        assert subject is not None
        return subject


class Admission:
    """The webhooks that are configured in a store, dialled through the node."""

    def __init__(self, store: Store, node: NodeApi) -> None:
        self._store = store
        self._node = node

    async def mutate(self, review: Review, warnings: list[str]) -> bool:
        """
        Let mutating webhooks change the object; whether any did.

        Raises:
            Forbidden: one of them denied the write.
            InternalError: one that must be asked could not be.

        """
        changed = False
        for hook, version in self._chosen("mutatingwebhookconfigurations", review):
            answer = await self._ask(hook, version, review, warnings)
            if answer is None or not answer.get("patch") or review.object is None:
                continue
            changed = True
            _apply(hook, version, answer, review)
        return changed

    async def validate(self, review: Review, warnings: list[str]) -> None:
        """Let validating webhooks refuse the write. Raises as `mutate` does."""
        for hook, version in self._chosen("validatingwebhookconfigurations", review):
            await self._ask(hook, version, review, warnings)

    def _chosen(self, plural: str, review: Review) -> list[tuple[Obj, str]]:
        """The webhooks to ask, each with the version of the object that it wants."""
        if review.resource.group == _GROUP:
            return []  # Else a broken webhook could never be repaired.
        chosen = []
        for configuration in self._store.scan((_GROUP, plural)):
            for hook in configuration.get("webhooks") or ():
                version = _wanted_version(hook, review)
                if version and self._selects(hook, review):
                    chosen.append((hook, version))
        return chosen

    def _selects(self, hook: Obj, review: Review) -> bool:
        wanted = hook.get("objectSelector")
        sides = [side for side in (review.object, review.old) if side is not None]
        if not any(label_selector_matches(wanted, _labels(side)) for side in sides):
            return False
        metadata = review.subject["metadata"]
        if review.resource.key == ("", "namespaces"):
            return label_selector_matches(hook.get("namespaceSelector"), _labels(review.subject))
        if not review.resource.namespaced:
            return True
        try:
            namespace = self._store.peek(("", "namespaces"), None, metadata["namespace"])
        except NotFound:
            return False
        return label_selector_matches(hook.get("namespaceSelector"), _labels(namespace))

    async def _ask(
        self, hook: Obj, version: str, review: Review, warnings: list[str]
    ) -> Obj | None:
        """The response of a webhook that allowed the write; None where it may be passed over."""
        name = hook["name"]
        if review.dry_run and hook.get("sideEffects") not in {"None", "NoneOnDryRun"}:
            raise BadRequest(f'admission webhook "{name}" does not support dry run')
        question = _question(review, version)
        address = hook["name"]
        try:
            target = _target(hook["clientConfig"])
            address = target.url
            async with asyncio.timeout(hook.get("timeoutSeconds") or 10):
                answer = await self._call(target, msgspec.json.encode(question))
            response = _response(answer, question["request"]["uid"])
        except (OSError, ValueError, WireError, NotFound) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, TimeoutError):
                why = f"no answer within {hook.get('timeoutSeconds') or 10} s"
            if hook.get("failurePolicy", "Fail") == "Ignore":
                _LOG.warning("Failed calling webhook, failing open %s: %s: %s", name, address, why)
                return None
            raise InternalError(
                f'Internal error occurred: failed calling webhook "{name}": failed to call '
                f'webhook: Post "{address}": {why}'
            ) from error
        warnings.extend(response.get("warnings") or ())
        if not response.get("allowed"):
            raise _denial(name, response.get("status") or {})
        return response

    async def _call(self, target: _Target, body: bytes) -> bytes:
        reader, writer = await self._node.connect(target.host, target.port)
        async with Exchange(reader, writer) as exchange:
            context = _trusting(target.ca_bundle)
            await writer.start_tls(context, server_hostname=target.host)
            headers = [
                (b"host", f"{target.host}:{target.port}".encode()),
                (b"content-type", b"application/json"),
                (b"accept", b"application/json"),
                (b"user-agent", b"kube-apiserver-admission"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            await exchange.start("POST", target.path.encode(), headers)
            await exchange.send(_whole(body))
            code, _ = await exchange.response()
            answer = bytearray()
            async for chunk in exchange.body():
                answer += chunk
                if len(answer) > _ANSWER_LIMIT_BYTES:
                    raise WireError(f"an answer of more than {_ANSWER_LIMIT_BYTES} bytes")
        if code != 200:
            raise WireError(f"the server answered {code}: {bytes(answer[:200])!r}")
        return bytes(answer)


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    host: str
    port: int
    path: str
    ca_bundle: str


def _target(config: Obj) -> _Target:
    ca_bundle = config.get("caBundle") or ""
    if service := config.get("service"):
        host = f"{service['name']}.{service['namespace']}.svc"
        port = service.get("port") or 443
        path = "/" + (service.get("path") or "").lstrip("/")
        return _Target(f"https://{host}:{port}{path}", host, port, path, ca_bundle)
    parts = urllib.parse.urlsplit(config.get("url") or "")
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"clientConfig.url {config.get('url')!r} is not an https URL")
    path = parts.path or "/"
    return _Target(config["url"], parts.hostname, parts.port or 443, path, ca_bundle)


@functools.lru_cache(maxsize=32)
def _trusting(ca_bundle: str) -> ssl.SSLContext:
    """A client's context for one CA bundle (base64 of PEM), or for the system's roots."""
    if not ca_bundle:
        return ssl.create_default_context()
    try:
        pem = base64.b64decode(ca_bundle, validate=True).decode("ascii")
        return ssl.create_default_context(cadata=pem)
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise ValueError(f"unable to load root certificates: {error}") from error


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _wanted_version(hook: Obj, review: Review) -> str:
    """The version in which a hook wants the object, or nothing where its rules do not match."""
    versions = [review.version]
    if hook.get("matchPolicy", "Equivalent") == "Equivalent":
        versions += [one for one in review.resource.versions if one != review.version]
    for version in versions:
        if any(_rule_matches(rule, version, review) for rule in hook.get("rules") or ()):
            return version
    return ""


def _rule_matches(rule: Obj, version: str, review: Review) -> bool:
    resource = review.resource
    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") is not resource.namespaced:
        return False
    named = {"*/*"}
    if review.subresource:
        named |= {
            f"{resource.plural}/{review.subresource}",
            f"{resource.plural}/*",
            f"*/{review.subresource}",
        }
    else:
        named |= {resource.plural, "*"}
    return (
        not {"*", review.operation}.isdisjoint(rule.get("operations") or ())
        and not {"*", resource.group}.isdisjoint(rule.get("apiGroups") or ())
        and not {"*", version}.isdisjoint(rule.get("apiVersions") or ())
        and not named.isdisjoint(rule.get("resources") or ())
    )


def _labels(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _question(review: Review, version: str) -> Obj:
    resource = review.resource
    kind = {"group": resource.group, "version": version, "kind": resource.kind}
    named = {"group": resource.group, "version": version, "resource": resource.plural}
    metadata = review.subject["metadata"]
    request: dict[str, Any] = {
        "uid": str(uuid.uuid4()),
        "kind": kind,
        "resource": named,
        "requestKind": {**kind, "version": review.version},
        "requestResource": {**named, "version": review.version},
        "operation": review.operation,
        "userInfo": review.user.info(),
        "object": _in_version(review.object, resource, version),
        "oldObject": _in_version(review.old, resource, version),
        "dryRun": review.dry_run,
        "options": review.options or None,
    }
    if metadata.get("name"):
        request["name"] = metadata["name"]
    if metadata.get("namespace"):
        request["namespace"] = metadata["namespace"]
    if review.subresource:
        request["subResource"] = request["requestSubResource"] = review.subresource
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _in_version(obj: Obj | None, resource: Resource, version: str) -> Obj | None:
    return None if obj is None else {**obj, "apiVersion": resource.api_version_of(version)}


def _response(answer: bytes, uid: str) -> Obj:
    """The response in an answer. Raises ValueError when it answers something else."""
    review = msgspec.json.decode(answer, type=dict[str, Any])
    response = msgspec.convert(review.get("response"), dict[str, Any])
    msgspec.convert(response.get("status") or {}, dict[str, Any])
    if response.get("uid") != uid:
        raise ValueError(f"expected response.uid={uid!r}, got {response.get('uid')!r}")
    return response


def _apply(hook: Obj, version: str, answer: Obj, review: Review) -> None:
    name = hook["name"]
    obj = _in_version(review.object, review.resource, version)
    try:
        msgspec.convert(answer.get("patchType"), Literal["JSONPatch"])
        patch = msgspec.json.decode(base64.b64decode(answer["patch"], validate=True))
        patched = msgspec.convert(jsonpatch.applied(obj, patch), dict[str, Any])
        msgspec.convert(patched.get("metadata"), dict[str, Any])
    except (ValueError, BadRequest, Unprocessable) as error:
        raise InternalError(
            f'Internal error occurred: the patch of admission webhook "{name}" cannot be applied: '
            f"{error}"
        ) from error
    review.object = _in_version(patched, review.resource, review.version)


def _denial(name: str, status: Obj) -> ApiError:
    message = status.get("message") or status.get("reason") or "without explanation"
    denial = Forbidden(f'admission webhook "{name}" denied the request: {message}')
    if isinstance(status.get("code"), int) and 400 <= status["code"] < 600:
        denial.code = status["code"]
    if isinstance(status.get("reason"), str) and status["reason"]:
        denial.reason = status["reason"]
    return denial
