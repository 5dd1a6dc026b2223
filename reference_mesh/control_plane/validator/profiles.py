"""What must hold of a ServiceProfile beyond its schema."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.validator.fields import duration, members, regex
from reference_mesh.manifests.crds.profile import RETRY_CONDITION

if TYPE_CHECKING:
    from reference_mesh.control_plane.validator.fields import Path

__all__ = ["service_profile"]

_DEEPEST = 16
"""Conditions inside conditions. More says the document was made by a machine gone wrong."""

_HOST = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
_TOKEN = re.compile(r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$")
_RETRY = re.compile(RETRY_CONDITION)


def service_profile(document: dict[str, Any], path: Path) -> None:
    """
    A ServiceProfile is named after its service and has routes that can be matched.

    A route without condition matches everything; the list's order decides.
    """
    name = members(document.get("metadata"), path / "metadata").get("name", "")
    if not _HOST.match(name):
        raise (path / "metadata" / "name").error(
            f'"{name}" is not the full name of a service, like web.default.svc.cluster.local'
        )
    spec, path = members(document.get("spec"), path / "spec"), path / "spec"
    for index, route in enumerate(spec.get("routes") or ()):
        _route(members(route, (path / "routes")[index]), (path / "routes")[index])
    if spec.get("retryBudget") is not None:
        _budget(members(spec["retryBudget"], path / "retryBudget"), path / "retryBudget")
    for index, override in enumerate(spec.get("dstOverrides") or ()):
        _override(override, (path / "dstOverrides")[index])
    if spec.get("outlierDetection") is not None:
        place = path / "outlierDetection"
        _outlier_detection(members(spec["outlierDetection"], place), place)


def _route(route: dict[str, Any], path: Path) -> None:
    if not isinstance(route.get("name"), str) or not route["name"]:
        raise (path / "name").error("a route needs a name; it is a label of its metrics")
    if "condition" in route:
        _request(route["condition"], path / "condition", _DEEPEST)
    for index, item in enumerate(route.get("responseClasses") or ()):
        place = (path / "responseClasses")[index]
        if "condition" not in members(item, place):
            raise place.error("needs a condition")
        if "isFailure" in item and item.get("isSuccess") == item["isFailure"]:
            raise place.error("isFailure and isSuccess contradict each other")
        _response(item["condition"], place / "condition", _DEEPEST)
    if "timeout" in route:
        duration(route["timeout"], path / "timeout")
    for index, condition in enumerate(route.get("retryConditions") or ()):
        if not isinstance(condition, str) or not _RETRY.match(condition):
            raise (path / "retryConditions")[index].error(
                f'"{condition}" is not one of status_5xx, status_503, reset, connect_failure, '
                "timeout"
            )
    if "destination" in route:
        place = path / "destination"
        service = members(route["destination"], place).get("service")
        if not isinstance(service, str) or not service:
            raise (place / "service").error("expected the name of a service")


def _request(value: Any, path: Path, depth: int) -> None:
    condition = _condition(value, path, depth)
    known = {"all", "any", "not", "method", "path", "pathRegex", "headers"}
    _known(condition, known, path)
    for member in ("path", "pathRegex"):
        if member in condition:
            regex(condition[member], path / member)
    method = condition.get("method")
    if method is not None and not _TOKEN.match(str(method)):
        raise (path / "method").error(f'"{method}" is not a method')
    for name, expected in members(condition.get("headers"), path / "headers").items():
        if not _TOKEN.match(name):
            raise (path / "headers").error(f'"{name}" is not the name of a header')
        if not isinstance(expected, str):
            raise (path / "headers" / name).error("expected a text")
    for member in ("all", "any"):
        for index, item in enumerate(_list(condition, member, path)):
            _request(item, (path / member)[index], depth - 1)
    if "not" in condition:
        _request(condition["not"], path / "not", depth - 1)


def _response(value: Any, path: Path, depth: int) -> None:
    condition = _condition(value, path, depth)
    _known(condition, {"all", "any", "not", "status"}, path)
    if "status" in condition:
        status = members(condition["status"], path / "status")
        low, high = status.get("min", 100), status.get("max", 599)
        if not status:
            raise (path / "status").error("needs min or max")
        if not all(isinstance(bound, int) and 100 <= bound <= 599 for bound in (low, high)):
            raise (path / "status").error("min and max are statuses from 100 to 599")
        if low > high:
            raise (path / "status").error(f"min {low} is more than max {high}")
    for member in ("all", "any"):
        for index, item in enumerate(_list(condition, member, path)):
            _response(item, (path / member)[index], depth - 1)
    if "not" in condition:
        _response(condition["not"], path / "not", depth - 1)


def _condition(value: Any, path: Path, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise path.error(f"conditions are nested more than {_DEEPEST} deep")
    condition = members(value, path)
    if not condition:
        raise path.error("an empty condition matches nothing; leave it out to match everything")
    return condition


def _known(condition: dict[str, Any], known: set[str], path: Path) -> None:
    for member in condition:
        if member not in known:
            raise (path / member).error(f"unknown; expected one of {', '.join(sorted(known))}")


def _list(condition: dict[str, Any], member: str, path: Path) -> list[Any]:
    value = condition.get(member, [])
    if not isinstance(value, list):
        raise (path / member).error("expected a list")
    return value


def _budget(budget: dict[str, Any], path: Path) -> None:
    """Linkerd's proxy ignores a budget outside of these bounds, and then never retries."""
    for member in ("retryRatio", "minRetriesPerSecond", "ttl"):
        if member not in budget:
            raise (path / member).error("is missing")
    ratio = budget["retryRatio"]
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1000:
        raise (path / "retryRatio").error("expected a number from 0 to 1000")
    duration(budget["ttl"], path / "ttl")


def _override(value: Any, path: Path) -> None:
    override = members(value, path)
    if not isinstance(override.get("authority"), str) or not override["authority"]:
        raise (path / "authority").error("expected an authority like web-v2.default.svc:8080")
    weight = str(override.get("weight", ""))
    if not re.match(r"^[0-9]+(m|\.[0-9]+)?$", weight):
        raise (path / "weight").error(f'"{weight}" is not a weight like 1 or 500m')


def _outlier_detection(value: dict[str, Any], path: Path) -> None:
    errors = value.get("consecutiveErrors")
    if isinstance(errors, bool) or not isinstance(errors, int) or errors < 1:
        raise (path / "consecutiveErrors").error("expected a whole number of at least 1")
    for member in ("interval", "baseEjectionTime", "maxEjectionTime"):
        if member in value:
            duration(value[member], path / member)
