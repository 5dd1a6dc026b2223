"""
What a request asks for: its path, query and body, taken apart and checked.

Limits: a body of 3 MiB, as etcd's default makes Kubernetes' own; the head of a request is limited
by the HTTP server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster.embedded.status import (
    BadRequest,
    NotFound,
    NotImplementedHere,
    TooLarge,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from harness.cluster.embedded.api.tokens import User
    from harness.cluster.embedded.resources import Registry, Resource
    from harness.cluster.embedded.store import Obj

__all__ = [
    "Ask",
    "Place",
    "body_object",
    "delete_options",
    "limited_body",
    "media_type",
    "parsed",
    "place",
]

_BODY_LIMIT_BYTES = 3 * 1024 * 1024

_NO_PROTOBUF = "protobuf request bodies are not supported by this server"
_AS_MANIFEST = (
    "write the object as a manifest and use `kubectl apply -f` "
    "(`kubectl create ... --dry-run=client -o yaml | kubectl apply -f -`)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """What a path under /api/v1 or /apis/GROUP/VERSION names."""

    resource: Resource
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource, without the slash between them."""


@dataclass(slots=True)
class Ask:
    """A request for a place, by a user. `warnings` go out as Warning headers."""

    place: Place
    request: Request
    user: User
    warnings: list[str] = field(default_factory=list)

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters; of a repeated one, the last."""
        return self.request.query_params

    @property
    def dry_run(self) -> bool:
        """Whether everything is to be done except storing it. Raises BadRequest."""
        values = self.request.query_params.getlist("dryRun")
        if any(value != "All" for value in values):
            raise BadRequest(f"invalid dryRun value {values}: only All is supported")
        return bool(values)

    @property
    def field_manager(self) -> str:
        """Who owns the fields that this request writes."""
        agent = self.request.headers.get("user-agent", "").partition("/")[0]
        return self.query.get("fieldManager") or agent or "unknown"

    @property
    def field_validation(self) -> str:
        """What an unknown field leads to: Strict, Warn or Ignore. Raises BadRequest."""
        wanted = self.query.get("fieldValidation") or "Warn"
        if wanted not in {"Strict", "Warn", "Ignore"}:
            raise BadRequest(f'invalid fieldValidation "{wanted}": Ignore, Warn or Strict')
        return wanted


def place(registry: Registry, group: str, version: str, segments: list[str]) -> Place:
    """
    The place that path segments name, those after /api/v1 or /apis/GROUP/VERSION.

    Raises:
        NotFound: no such kind, or a namespaced kind without a namespace where it needs one.

    """
    namespace = ""
    inside = len(segments) >= 3 and segments[0] == "namespaces"
    if inside and segments[2] not in {"status", "finalize"}:
        namespace, segments = segments[1], segments[2:]
    if not segments or not all(segments[:2]):
        raise NotFound
    plural, *others = segments
    resource = registry.served(group, version, plural)
    name = others[0] if others else ""
    subresource = others[1] if len(others) > 1 else ""
    if resource.namespaced is not bool(namespace) and (name or namespace):
        raise NotFound
    if subresource and subresource not in resource.subresources:
        raise NotFound
    return Place(resource, version, namespace, name, subresource, "/".join(others[2:]))


def media_type(request: Request) -> str:
    """The body's type, without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def limited_body(request: Request) -> bytes:
    """The whole body. Raises TooLarge as soon as the limit is passed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT_BYTES:
            raise TooLarge(f"the request body is over the limit of {_BODY_LIMIT_BYTES} bytes")
    return bytes(body)


async def body_object(request: Request, *, stored: bool = True) -> Obj:
    """
    The object in a body of JSON or YAML.

    stored: whether it is one that could be applied instead; a review or a token request is not.

    Raises:
        NotImplementedHere: for protobuf, with what to do instead.
        UnsupportedMediaType: for anything else.
        BadRequest: when it cannot be parsed or is no object.

    """
    type_ = media_type(request)
    if "protobuf" in type_:
        as_json = f"send JSON: `kubectl create --raw {request.url.path} -f FILE`"
        raise NotImplementedHere(f"{_NO_PROTOBUF}: {_AS_MANIFEST if stored else as_json}")
    if type_ not in {"", "application/json", "application/yaml"}:
        raise UnsupportedMediaType(
            f'the body of the request was in an unknown format - "{type_}"; accepted media types '
            "include: application/json, application/yaml"
        )
    return parsed(await limited_body(request), yaml=type_ == "application/yaml")


def parsed(body: bytes, *, yaml: bool = False) -> Obj:
    """The object that a body holds. Raises BadRequest."""
    try:
        obj = _from_yaml(body) if yaml else msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be parsed: {error}") from error
    if not isinstance(obj, dict):
        raise BadRequest("the body must be an object")
    return obj


def _from_yaml(body: bytes) -> Any:
    import yaml  # noqa: PLC0415 - costs 20 ms, and clients nearly always send JSON

    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


async def delete_options(request: Request) -> Obj:
    """
    How to delete: the DeleteOptions in the body, or in the query.

    Raises:
        BadRequest: for values that mean nothing.

    """
    body = await limited_body(request)
    if body and "protobuf" in media_type(request):
        raise NotImplementedHere(f"{_NO_PROTOBUF}: send DeleteOptions as JSON")
    options = parsed(body, yaml=media_type(request) == "application/yaml") if body else {}
    query = request.query_params
    if "gracePeriodSeconds" in query:
        options["gracePeriodSeconds"] = _whole(query["gracePeriodSeconds"], "gracePeriodSeconds")
    if "propagationPolicy" in query:
        options["propagationPolicy"] = query["propagationPolicy"]
    if query.get("orphanDependents") == "true" or options.pop("orphanDependents", False):
        options["propagationPolicy"] = "Orphan"
    if query.getlist("dryRun"):
        options["dryRun"] = query.getlist("dryRun")
    if options.get("dryRun") not in (None, [], ["All"]):
        raise BadRequest(f"invalid dryRun value {options['dryRun']}: only All is supported")
    policy = options.get("propagationPolicy")
    if policy not in {None, "Background", "Foreground", "Orphan"}:
        raise BadRequest(f'invalid propagationPolicy "{policy}": Background, Foreground or Orphan')
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or grace < 0):
        raise BadRequest(f"invalid gracePeriodSeconds {grace!r}: a whole number, 0 or more")
    return options


def _whole(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"{what}: {text!r} is not a whole number") from None
