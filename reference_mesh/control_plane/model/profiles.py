"""
Facts of ServiceProfiles, kept as the part of a `DestinationProfile` that they make.

The rules are Linkerd's: several conditions of one match must all hold, a destination without a
port means the port that was asked for, and weights travel in ten-thousandths.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

from reference_mesh.control_plane import durations, wire
from reference_mesh.errors import InvalidInput
from reference_mesh.proto.gen import destination_pb2, http_types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Profile", "default_budget", "profile_of"]

_REGISTERED = http_types_pb2.HttpMethod.Registered
_WEIGHT_UNIT = 10_000

M = TypeVar("M", destination_pb2.RequestMatch, destination_pb2.ResponseMatch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A ServiceProfile. Its name is the whole name of the service that it describes."""

    namespace: str
    name: str
    message: destination_pb2.DestinationProfile
    """Routes, retry budget and destinations; nothing else is set."""


def profile_of(document: dict[str, Any]) -> Profile:
    """
    Facts of a ServiceProfile.

    Raises:
        InvalidInput: a match without a condition, a duration or a weight that is none.

    """
    metadata, spec = document["metadata"], document.get("spec") or {}
    message = destination_pb2.DestinationProfile(
        routes=[_route(route) for route in spec.get("routes") or ()],
        retry_budget=_budget(spec.get("retryBudget")),
        dst_overrides=[
            destination_pb2.WeightedDst(authority=entry["authority"], weight=_weight(entry))
            for entry in spec.get("dstOverrides") or ()
        ],
    )
    return Profile(namespace=metadata["namespace"], name=metadata["name"], message=message)


def default_budget() -> destination_pb2.RetryBudget:
    """Linkerd's default: one retry per five requests, and ten a second besides."""
    return destination_pb2.RetryBudget(
        retry_ratio=0.2, min_retries_per_second=10, ttl=wire.duration(10)
    )


def _route(route: dict[str, Any]) -> destination_pb2.Route:
    made = destination_pb2.Route(
        condition=_request(route["condition"]),
        response_classes=[
            destination_pb2.ResponseClass(
                condition=_response(entry["condition"]), is_failure=bool(entry.get("isFailure"))
            )
            for entry in route.get("responseClasses") or ()
        ],
        metrics_labels={"route": route["name"]},
        is_retryable=bool(route.get("isRetryable")),
    )
    if route.get("timeout"):
        made.timeout.CopyFrom(wire.duration(durations.seconds(route["timeout"])))
    return made


def _request(match: dict[str, Any]) -> destination_pb2.RequestMatch:
    found = _combined(match, destination_pb2.RequestMatch, _request)
    if match.get("pathRegex"):
        path = destination_pb2.PathMatch(regex=match["pathRegex"])
        found.append(destination_pb2.RequestMatch(path=path))
    if match.get("method"):
        found.append(destination_pb2.RequestMatch(method=_method(match["method"])))
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidInput("routes: a condition is empty")
    return destination_pb2.RequestMatch(all=destination_pb2.RequestMatch.Seq(matches=found))


def _response(match: dict[str, Any]) -> destination_pb2.ResponseMatch:
    found = _combined(match, destination_pb2.ResponseMatch, _response)
    status = match.get("status")
    if status:
        # One bound alone means that one status.
        low = status.get("min") or status.get("max")
        high = status.get("max") or status.get("min")
        ranged = destination_pb2.HttpStatusRange(min=low, max=high)
        found.append(destination_pb2.ResponseMatch(status=ranged))
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidInput("responseClasses: a condition is empty")
    return destination_pb2.ResponseMatch(all=destination_pb2.ResponseMatch.Seq(matches=found))


def _combined(
    match: dict[str, Any], message: type[M], read: Callable[[dict[str, Any]], M]
) -> list[M]:
    found = []
    for word in ("all", "any"):
        if match.get(word):
            parts: Any = {word: {"matches": [read(part) for part in match[word]]}}
            found.append(message(**parts))
    if match.get("not"):
        inverted: Any = {"not": read(match["not"])}
        found.append(message(**inverted))
    return found


def _method(name: str) -> http_types_pb2.HttpMethod:
    if name in _REGISTERED.keys():  # noqa: SIM118 - an enum wrapper, not a mapping
        return http_types_pb2.HttpMethod(registered=name)
    return http_types_pb2.HttpMethod(unregistered=name)


def _budget(budget: dict[str, Any] | None) -> destination_pb2.RetryBudget:
    if not budget:
        return default_budget()
    return destination_pb2.RetryBudget(
        retry_ratio=float(budget["retryRatio"]),
        min_retries_per_second=int(budget["minRetriesPerSecond"]),
        ttl=wire.duration(durations.seconds(budget["ttl"])),
    )


def _weight(entry: dict[str, Any]) -> int:
    text = str(entry.get("weight", 1))
    try:
        number = Decimal(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
    except InvalidOperation as error:
        raise InvalidInput(f"dstOverrides: weight {text!r} is not a quantity") from error
    if not 0 <= number <= 100_000:
        raise InvalidInput(f"dstOverrides: weight {text!r} is not from 0 to 100000")
    return int(number * _WEIGHT_UNIT)
