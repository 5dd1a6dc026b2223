"""Objects reduced to their metadata, for clients that keep an index of names and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from harness.cluster.embedded.store import Obj

__all__ = ["MetadataOnly", "partial_object", "wanted"]

_GROUP_VERSION = "meta.k8s.io/v1"


def wanted(request: Request) -> bool:
    """Whether the client prefers metadata alone."""
    return "as=PartialObjectMetadata" in request.headers.get("accept", "").partition(",")[0]


def partial_object(obj: Obj) -> Obj:
    """The object as a PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": _GROUP_VERSION,
        "metadata": obj["metadata"],
    }


class MetadataOnly:
    """Shows objects by their metadata alone, in lists and in events."""

    def listed(self, objects: Sequence[Obj], metadata: Obj) -> Obj:
        """A list of these objects under its own metadata."""
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": _GROUP_VERSION,
            "metadata": metadata,
            "items": [partial_object(obj) for obj in objects],
        }

    def single(self, obj: Obj) -> Obj:
        """One object, also in an event."""
        return partial_object(obj)
