"""
Reasons for leaving a pod without a sidecar.

The codes are Linkerd's: they are a label of the injector's metrics and the CLI's report prints
their sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference_mesh.manifests.values import Values

__all__ = [
    "ABSENT",
    "AUTOMOUNT",
    "DISABLED",
    "HOST_NETWORK",
    "INVALID_AT_NAMESPACE",
    "INVALID_AT_WORKLOAD",
    "REASONS",
    "SIDECAR",
    "UNSUPPORTED",
    "reason_to_skip",
]

HOST_NETWORK: Final = "host_network_enabled"
SIDECAR: Final = "sidecar_already_exists"
UNSUPPORTED: Final = "unsupported_resource"
ABSENT: Final = "injection_enable_annotation_absent"
DISABLED: Final = "injection_disable_annotation_present"
INVALID_AT_WORKLOAD: Final = "invalid_inject_annotation_at_workload"
INVALID_AT_NAMESPACE: Final = "invalid_inject_annotation_at_ns"
AUTOMOUNT: Final = "disabled_automount_service_account_token_account"

REASONS: Final = {
    HOST_NETWORK: "hostNetwork is enabled",
    SIDECAR: "pod has a sidecar injected already",
    UNSUPPORTED: "this resource kind is unsupported",
    ABSENT: f'neither the namespace nor the pod have the annotation "{names.INJECT}:enabled"',
    DISABLED: f'pod has the annotation "{names.INJECT}:disabled"',
    INVALID_AT_WORKLOAD: f'invalid value for annotation "{names.INJECT}" at workload',
    INVALID_AT_NAMESPACE: f'invalid value for annotation "{names.INJECT}" at namespace',
    AUTOMOUNT: 'automountServiceAccountToken set to "false", with '
    'identity.serviceAccountTokenProjection set to "false"',
}
"""Sentence of each code."""

_FOREIGN_SIDECARS: Final = ("istio-proxy", "istio-init", "envoy-sidecar", "gloo-proxy")
"""Containers of other meshes: two redirects in one pod would feed each other."""

_ON: Final = ("enabled", "ingress")


def reason_to_skip(
    pod: Mapping[str, Any], namespace_annotations: Mapping[str, str], values: Values
) -> str | None:
    """Code of the first reason that holds for a pod (or template), or None: it gets a sidecar."""
    spec = pod.get("spec") or {}
    if spec.get("hostNetwork"):
        return HOST_NETWORK
    if has_sidecar(spec):
        return SIDECAR
    token_needed = not values.identity.service_account_token_projection
    if token_needed and spec.get("automountServiceAccountToken") is False:
        return AUTOMOUNT
    own = ((pod.get("metadata") or {}).get("annotations") or {}).get(names.INJECT)
    if own is not None:
        return _by_annotation(own, INVALID_AT_WORKLOAD)
    inherited = namespace_annotations.get(names.INJECT)
    if inherited is not None:
        return _by_annotation(inherited, INVALID_AT_NAMESPACE)
    return ABSENT


def has_sidecar(spec: Mapping[str, Any]) -> bool:
    """Whether a pod spec already holds this mesh's sidecar or one of another mesh."""
    known = {names.PROXY_CONTAINER, names.INIT_CONTAINER, *_FOREIGN_SIDECARS}
    everything = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    return any(container.get("name") in known for container in everything)


def _by_annotation(value: str, invalid: str) -> str | None:
    if value in _ON:
        return None
    return DISABLED if value == "disabled" else invalid
