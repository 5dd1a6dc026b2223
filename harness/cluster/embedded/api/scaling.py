"""The `scale` subresource: how many replicas there are and should be, for any scalable kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api import asks, patches
from harness.cluster.embedded.api.answers import json_answer
from harness.cluster.embedded.api.lists import ListKinds
from harness.cluster.embedded.api.objects import write_of
from harness.cluster.embedded.status import (
    BadRequest,
    Cause,
    Invalid,
    MethodNotAllowed,
    NotImplementedHere,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from harness.cluster.embedded.api.asks import Ask
    from harness.cluster.embedded.api.operations import Operations
    from harness.cluster.embedded.store import Obj

__all__ = ["Scaling"]


class Scaling:
    """Reads and writes `spec.replicas` as an autoscaling/v1 Scale."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def answer(self, ask: Ask) -> Response:
        """
        Get, replace or patch the scale of an object.

        Raises:
            NotFound: no such object.
            Invalid: the number of replicas is none.

        """
        place = ask.place
        if place.resource.custom:
            raise NotImplementedHere(
                f"the scale subresource of custom kinds is not supported by this server: write "
                f"the number of replicas into the {place.resource.kind} itself"
            )
        method = ask.request.method
        if method == "GET":
            obj = self._operations.store.peek(place.resource.key, place.namespace, place.name)
            return json_answer(_scale(obj))
        if method == "PUT":
            scale = await asks.body_object(ask.request)
            updated = await self._modified(ask, lambda _: scale)
        elif method == "PATCH":
            change = await patches.change_of(ask, ListKinds(place.resource))
            updated = await self._modified(ask, change)
        else:
            raise MethodNotAllowed
        return json_answer(_scale(updated), warnings=ask.warnings)

    async def _modified(self, ask: Ask, change: Callable[[Obj], Obj]) -> Obj:
        place = ask.place

        def changed(obj: Obj) -> Obj:
            scale = change(_scale(obj))
            if scale.get("kind") != "Scale":
                raise BadRequest("the body is no Scale")
            replicas = (scale.get("spec") or {}).get("replicas", 0)
            if not isinstance(replicas, int) or replicas < 0:
                message = f"Invalid value: {replicas}: must be greater than or equal to 0"
                raise Invalid(place.resource, place.name, [Cause("spec.replicas", message)])
            version = (scale.get("metadata") or {}).get("resourceVersion")
            if version:
                obj["metadata"]["resourceVersion"] = version
            obj["spec"]["replicas"] = replicas
            return obj

        return await self._operations.modify(
            place.resource.key, place.namespace, place.name, changed, write_of(ask)
        )


def _scale(obj: Obj) -> dict[str, Any]:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }
