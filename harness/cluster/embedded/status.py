"""
Refusals of the embedded API server, each one a Kubernetes `Status`.

    ApiError
    ├── BadRequest            400  the request itself makes no sense
    ├── Unauthorized          401  no token, or one that nobody here issued
    ├── Forbidden             403  understood and refused, for instance in a terminating namespace
    ├── NotFound              404
    ├── MethodNotAllowed      405
    ├── AlreadyExists         409
    ├── Conflict              409  the object has changed since it was read
    ├── Expired               410  the watch asks for changes that are no longer kept
    ├── TooLarge              413
    ├── UnsupportedMediaType  415
    ├── Invalid               422  the object breaks rules; carries one cause per field
    ├── InternalError         500  a webhook or the node failed
    ├── NotImplementedHere    501  Kubernetes has it, this engine has not; says what to do instead
    ├── BadGateway            502  a pod did not answer through the proxy
    └── Unavailable           503

Reasons, codes and wordings are those of k8s.io/apimachinery, since clients print and compare them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cluster.embedded.resources import Resource

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BadGateway",
    "BadRequest",
    "Cause",
    "Conflict",
    "Expired",
    "Forbidden",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotFound",
    "NotImplementedHere",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMediaType",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One broken rule: `field` is a path such as `spec.containers[0].name`."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class ApiError(ClusterError):
    """A refused request. `status()` is what goes over the wire."""

    code = 500
    reason = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        resource: Resource | None = None,
        name: str = "",
        causes: Sequence[Cause] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.resource = resource
        self.name = name
        self.causes = tuple(causes)

    def status(self) -> dict[str, Any]:
        """The `Status` object that tells a client of this error."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        details = self._details()
        if details:
            status["details"] = details
        return status

    def _details(self) -> dict[str, Any]:
        details: dict[str, Any] = {}
        if self.name:
            details["name"] = self.name
        if self.resource is not None:
            if self.resource.group:
                details["group"] = self.resource.group
            details["kind"] = self.resource.plural
        if self.causes:
            details["causes"] = [
                {"reason": cause.reason, "message": cause.message, "field": cause.field}
                for cause in self.causes
            ]
        return details


class BadRequest(ApiError):
    """The request itself makes no sense: malformed, contradictory, or strict decoding failed."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """No token, or one that nobody here issued."""

    code = 401
    reason = "Unauthorized"

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Forbidden(ApiError):
    """Understood and refused."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """There is no such object, or no such kind when the name is empty."""

    code = 404
    reason = "NotFound"

    def __init__(self, resource: Resource | None = None, name: str = "", message: str = "") -> None:
        if not message and resource is None:
            message = "the server could not find the requested resource"
        elif not message and resource is not None:
            message = f'{resource.qualified} "{name}" not found'
        super().__init__(message, resource=resource, name=name)


class MethodNotAllowed(ApiError):
    """The resource has no such verb."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self) -> None:
        super().__init__("the server does not allow this method on the requested resource")


class AlreadyExists(ApiError):
    """An object of that name is there."""

    code = 409
    reason = "AlreadyExists"

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(
            f'{resource.qualified} "{name}" already exists', resource=resource, name=name
        )


class Conflict(ApiError):
    """The object is not the one that the writer had read: read it again and repeat."""

    code = 409
    reason = "Conflict"

    def __init__(
        self,
        resource: Resource,
        name: str,
        why: str = (
            "the object has been modified; please apply your changes to the latest version and "
            "try again"
        ),
    ) -> None:
        super().__init__(
            f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
            resource=resource,
            name=name,
        )


class Expired(ApiError):
    """A watch asks for changes that are no longer kept, or was too slow: list again."""

    code = 410
    reason = "Expired"


class TooLarge(ApiError):
    """The body is over the limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body is of a type that this resource does not take."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    """The object breaks rules; one cause per field."""

    code = 422
    reason = "Invalid"

    def __init__(self, resource: Resource, name: str, causes: Sequence[Cause]) -> None:
        listed = [f"{cause.field}: {cause.message}" for cause in causes]
        told = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
        kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
        super().__init__(
            f'{kind} "{name}" is invalid: {told}', resource=resource, name=name, causes=causes
        )
        self._kind = resource.kind

    def _details(self) -> dict[str, Any]:
        # Here alone Kubernetes gives the kind where it else gives the plural name.
        return {**super()._details(), "kind": self._kind}


class TooManyRequests(ApiError):
    """Not now: a budget has no room."""

    code = 429
    reason = "TooManyRequests"


class Unprocessable(ApiError):
    """Well formed, and impossible: a JSON patch that does not fit its object."""

    code = 422
    reason = "Invalid"


class InternalError(ApiError):
    """A webhook or the node failed, or there is a defect here."""


class NotImplementedHere(ApiError):
    """Kubernetes has it and this engine has not; the message says what to do instead."""

    code = 501
    reason = "NotImplemented"


class BadGateway(ApiError):
    """A pod did not answer through the proxy."""

    code = 502
    reason = "BadGateway"


class Unavailable(ApiError):
    """No endpoint can answer now."""

    code = 503
    reason = "ServiceUnavailable"
