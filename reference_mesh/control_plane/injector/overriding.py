"""
`config.linkerd.io/*` annotations: a pod's own values.

Each annotation that this mesh knows sets one value; a namespace's annotations hold for all its pods
and a pod's own win. A value that cannot be used is refused with its annotation, because a pod that
runs with another configuration than it asks for is harder to find than one that does not start.
What nothing comes of is reported, not refused: see `unheeded`.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names, overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reference_mesh.manifests.values import Values

__all__ = ["KNOWN", "NOT_FOR_VALUES", "POD_INBOUND_PORTS", "effective", "for_pod", "ports"]

POD_INBOUND_PORTS = names.CONFIG + "pod-inbound-ports"

_RESOURCES = {
    f"proxy-{resource}-{kind}": f"proxy.resources.{resource}.{kind}"
    for resource in ("cpu", "memory")
    for kind in ("request", "limit")
} | {
    f"proxy-ephemeral-storage-{kind}": f"proxy.resources.ephemeral-storage.{kind}"
    for kind in ("request", "limit")
}

_PATHS = _RESOURCES | {
    "access-log": "proxy.accessLog",
    "admin-port": "proxy.ports.admin",
    "close-wait-timeout": "proxyInit.closeWaitTimeoutSecs",
    "control-port": "proxy.ports.control",
    "default-inbound-policy": "proxy.defaultInboundPolicy",
    "enable-gateway": "proxy.isGateway",
    "image-pull-policy": "proxy.image.pullPolicy",
    "inbound-port": "proxy.ports.inbound",
    "init-image": "proxyInit.image.name",
    "init-image-version": "proxyInit.image.version",
    "opaque-ports": "proxy.opaquePorts",
    "outbound-port": "proxy.ports.outbound",
    "proxy-additional-env": "proxy.additionalEnv",
    "proxy-admin-shutdown": "proxy.enableShutdownEndpoint",
    "proxy-cpu-ratio-limit": "proxy.cpuRatioLimit",
    "proxy-disable-inbound-protocol-detect-timeout": "proxy.disableInboundProtocolDetectTimeout",
    "proxy-disable-outbound-protocol-detect-timeout": "proxy.disableOutboundProtocolDetectTimeout",
    "proxy-enable-native-sidecar": "proxy.nativeSidecar",
    "proxy-gid": "proxy.gid",
    "proxy-image": "proxy.image.name",
    "proxy-inbound-connect-timeout": "proxy.inboundConnectTimeout",
    "proxy-inbound-discovery-cache-unused-timeout": "proxy.inboundDiscoveryCacheUnusedTimeout",
    "proxy-log-format": "proxy.logFormat",
    "proxy-log-http-headers": "proxy.logHTTPHeaders",
    "proxy-log-level": "proxy.logLevel",
    "proxy-metrics-hostname-labels": "proxy.metricsHostnameLabels",
    "proxy-outbound-connect-timeout": "proxy.outboundConnectTimeout",
    "proxy-outbound-discovery-cache-unused-timeout": "proxy.outboundDiscoveryCacheUnusedTimeout",
    "proxy-require-identity-inbound-ports": "proxy.requireIdentityOnInboundPorts",
    "proxy-uid": "proxy.uid",
    "proxy-version": "proxy.image.version",
    "shutdown-grace-period": "proxy.shutdownGracePeriod",
    "skip-inbound-ports": "proxyInit.ignoreInboundPorts",
    "skip-outbound-ports": "proxyInit.ignoreOutboundPorts",
    "skip-subnets": "proxyInit.skipSubnets",
}
_ALPHA_PATHS = {
    "proxy-enable-native-sidecar": "proxy.nativeSidecar",
    "proxy-wait-before-exit-seconds": "proxy.waitBeforeExitSeconds",
}
KNOWN = {names.CONFIG + key: path for key, path in _PATHS.items()} | {
    names.CONFIG_ALPHA + key: path for key, path in _ALPHA_PATHS.items()
}
"""The value that each annotation sets."""

NOT_FOR_VALUES = {POD_INBOUND_PORTS, names.ADMISSION_WEBHOOKS}
"""Annotations that are acted on elsewhere."""

_PORT_RANGE = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?$")
_LOG_LEVEL = re.compile(r"^[A-Za-z0-9_:=,.\[\]{}\" -]+$")
_DURATION = re.compile(r"^[0-9]+(ms|s|m|h|d)$")
_SWITCHES = {"enabled": "true", "true": "true", "disabled": "false", "false": "false"}


def effective(namespace: Mapping[str, str], pod: Mapping[str, str]) -> dict[str, str]:
    """Configuration annotations that hold for a pod: the namespace's, then the pod's own."""
    prefixes = (names.CONFIG, names.CONFIG_ALPHA)
    inherited = {key: value for key, value in namespace.items() if key.startswith(prefixes)}
    inherited.pop(names.ADMISSION_WEBHOOKS, None)
    own = {key: value for key, value in pod.items() if key.startswith(prefixes)}
    return inherited | own


def for_pod(values: Values, annotations: Mapping[str, str]) -> Values:
    """
    The values of a pod with these annotations.

    Raises:
        InvalidInput: an annotation's value cannot be used; names both.

    """
    chosen: dict[str, Any] = {}
    for annotation, value in sorted(annotations.items()):
        path = KNOWN.get(annotation)
        if path is None:
            continue
        usable = _checked(annotation, path, value.strip())
        node = chosen
        *groups, leaf = path.split(".")
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = usable
        try:
            overrides.combine({groups[0]: chosen[groups[0]]})
        except InvalidInput as error:
            raise _refused(annotation, value, str(error).rpartition("`: ")[2]) from error
    if not chosen:
        return values
    return overrides.combine(values.as_document(), chosen)[0]


def ports(annotation: str, text: str) -> str:
    """
    A list of ports and ranges in its plain form: `80,8000-8010`.

    Raises:
        InvalidInput: something in it is neither; names the annotation.

    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        match = _PORT_RANGE.match(part)
        low = int(match[1]) if match else 0
        high = int(match[2] or low) if match else 0
        if not 0 < low <= high <= 65535:
            raise _refused(annotation, text, f"`{part}` is neither a port nor a range like 80-90")
    return ",".join(parts)


def _checked(annotation: str, path: str, value: str) -> Any:
    """The value in the form that the structs take, after the checks that a type cannot make."""
    check = _CHECKS.get(path)
    if check is not None:
        return check(annotation, value)
    leaf = path.rpartition(".")[2]
    if leaf.endswith(("Timeout", "Period")) and not leaf.startswith("disable"):
        if not _DURATION.match(value):
            raise _refused(annotation, value, "expected a duration like 500ms, 10s or 2m")
        return value
    if not value:
        raise _refused(annotation, value, "expected a value")
    return value


def _switch(annotation: str, value: str) -> str:
    if value.lower() not in _SWITCHES:
        raise _refused(annotation, value, "expected true or false")
    return _SWITCHES[value.lower()]


def _subnets(annotation: str, value: str) -> str:
    for part in (part.strip() for part in value.split(",")):
        try:
            ipaddress.ip_network(part)
        except ValueError as error:
            raise _refused(annotation, value, str(error)) from error
    return value.replace(" ", "")


def _seconds(annotation: str, value: str) -> str:
    """Whole seconds, from Go's form (`60s`) or a number."""
    match = re.match(r"^(\d+)(s|m|h)?$", value)
    if match is None:
        raise _refused(annotation, value, "expected whole seconds like 60 or 60s")
    return str(int(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]])


def _variables(annotation: str, value: str) -> list[dict[str, Any]]:
    try:
        items = json.loads(value)
    except json.JSONDecodeError as error:
        raise _refused(annotation, value, f"not JSON: {error}") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _refused(annotation, value, 'expected a list like [{"name": "A", "value": "1"}]')
    return items


def _log_level(annotation: str, value: str) -> str:
    if not _LOG_LEVEL.match(value):
        raise _refused(annotation, value, "expected levels like info or warn,linkerd=debug")
    return value


def _policy(annotation: str, value: str) -> str:
    if value not in names.DEFAULT_POLICIES:
        raise _refused(annotation, value, f"expected one of {', '.join(names.DEFAULT_POLICIES)}")
    return value


_CHECKS: dict[str, Callable[[str, str], Any]] = {
    "proxy.additionalEnv": _variables,
    "proxy.defaultInboundPolicy": _policy,
    "proxy.disableInboundProtocolDetectTimeout": _switch,
    "proxy.disableOutboundProtocolDetectTimeout": _switch,
    "proxy.enableShutdownEndpoint": _switch,
    "proxy.isGateway": _switch,
    "proxy.logLevel": _log_level,
    "proxy.metricsHostnameLabels": _switch,
    "proxy.nativeSidecar": _switch,
    "proxy.opaquePorts": ports,
    "proxy.requireIdentityOnInboundPorts": ports,
    "proxy.waitBeforeExitSeconds": _seconds,
    "proxyInit.closeWaitTimeoutSecs": _seconds,
    "proxyInit.ignoreInboundPorts": ports,
    "proxyInit.ignoreOutboundPorts": ports,
    "proxyInit.skipSubnets": _subnets,
}


def _refused(annotation: str, value: str, why: str) -> InvalidInput:
    return InvalidInput(f'annotation {annotation}: "{value}": {why}')
