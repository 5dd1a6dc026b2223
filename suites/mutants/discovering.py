"""Defects of the component that tells proxies of their peers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFECTS"]


def _only_own_build() -> None:
    """A pod whose sidecar is not of the build that is installed passes for one without."""
    import msgspec  # noqa: PLC0415

    from reference_mesh.control_plane import settings  # noqa: PLC0415
    from reference_mesh.control_plane.model import pods  # noqa: PLC0415
    from reference_mesh.manifests import names  # noqa: PLC0415
    from reference_mesh.manifests.values import Values  # noqa: PLC0415

    parse = pods.pod_of

    def pod_of(document: dict[str, Any]) -> pods.Pod:
        pod = parse(document)
        values = msgspec.yaml.decode(settings.VALUES.read_bytes(), type=Values)
        version = (document["metadata"].get("annotations") or {}).get(names.PROXY_VERSION)
        if version == values.proxy.image.version:
            return pod
        others = {key: text for key, text in pod.labels.items() if key != names.CONTROL_PLANE_NS}
        return dataclasses.replace(pod, labels=others)

    pods.pod_of = pod_of


DEFECTS: dict[str, Callable[[], None]] = {"other-builds-unmeshed": _only_own_build}
