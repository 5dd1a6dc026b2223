"""
Configuration that nothing comes of, so that its user hears of it.

Annotations that Linkerd knows and this mesh has no use for, and what only linkerd2-proxy acts on:
its variables are written, since that proxy may run in place of this mesh's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane.injector import overriding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference_mesh.manifests.values import Values

__all__ = ["of_annotations", "of_values"]

_NOT_YET = {
    "proxy.isGateway": "it is no gateway to other clusters",
}
"""Values that this mesh's own proxy does not act on."""

_OFF = {"disabled", "false"}


def of_annotations(annotations: Mapping[str, str]) -> list[str]:
    """One line for each configuration annotation that changes nothing."""
    told = []
    for annotation, value in sorted(annotations.items()):
        path = overriding.KNOWN.get(annotation)
        if path in _NOT_YET:
            if value.strip().lower() not in _OFF:
                told.append(_not_yet(f"annotation {annotation}", path))
        elif path is None and annotation not in overriding.NOT_FOR_VALUES:
            told.append(f"annotation {annotation} has no effect in this mesh")
    return told


def of_values(values: Values) -> list[str]:
    """One line for each value that is set, and changes nothing."""
    proxy = values.as_document()["proxy"]
    unheeded = [path for path in _NOT_YET if proxy.get(path.removeprefix("proxy."))]
    return [_not_yet(f"value {path}", path) for path in unheeded]


def _not_yet(what: str, path: str) -> str:
    return f"{what}: this mesh's proxy does not do that yet: {_NOT_YET[path]}"
