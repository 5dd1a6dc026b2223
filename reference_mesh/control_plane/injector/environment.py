"""
The sidecar's environment, variable by variable as Linkerd sets it.

Kubernetes expands `$(NAME)` from variables that stand earlier in the list, so the order matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import names

if TYPE_CHECKING:
    from reference_mesh.manifests.values import Values

__all__ = ["END_ENTITY_DIR", "TOKEN_DIR", "Addresses", "TrustAnchors", "cluster", "variables"]

END_ENTITY_DIR = "/var/run/linkerd/identity/end-entity"
TOKEN_DIR = "/var/run/secrets/tokens"  # noqa: S105 - a directory
_API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
_NEVER = "365d"
"""Stands for no detect time-out: the proxy has no way to say none."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a sidecar finds the control plane: host and port of each part."""

    identity: str
    destination: str
    policy: str


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The PEM bundle itself, or nothing when the pod can take it from the ConfigMap beside it."""

    pem: str | None = None


def cluster(values: Values, control_plane_ns: str) -> Addresses:
    """Addresses for pods outside the control plane."""
    suffix = f"{control_plane_ns}.svc.{values.cluster_domain}."
    return Addresses(
        identity=f"linkerd-identity-headless.{suffix}:{names.IDENTITY_PORT}",
        destination=f"linkerd-dst-headless.{suffix}:{names.DESTINATION_PORT}",
        policy=f"linkerd-policy.{suffix}:{names.POLICY_PORT}",
    )


def variables(
    values: Values,
    *,
    control_plane_ns: str,
    addresses: Addresses,
    anchors: TrustAnchors,
    inbound_ports: str,
) -> list[dict[str, Any]]:
    """The whole environment of a sidecar, ready for a container."""
    result = [
        *_downward(),
        *_process(values),
        *_discovery(values, addresses),
        *_limits(values),
        *_listeners(values, inbound_ports),
        *_options(values),
        *_identity(values, control_plane_ns, addresses, anchors),
    ]
    replaced = {extra.name for extra in values.proxy.additional_env}
    return [
        *(item for item in result if item["name"] not in replaced),
        *({"name": extra.name, "value": extra.value} for extra in values.proxy.additional_env),
    ]


def _downward() -> list[dict[str, Any]]:
    return [
        _field("_pod_name", "metadata.name"),
        _field("_pod_ns", "metadata.namespace"),
        _field("_pod_nodeName", "spec.nodeName"),
        _field("_pod_sa", "spec.serviceAccountName"),
    ]


def _process(values: Values) -> list[dict[str, Any]]:
    proxy = values.proxy
    cores = proxy.cores or _cores(proxy.resources.cpu.limit)
    result = []
    if cores:
        result.append(_plain("CORES", str(cores)))
    elif proxy.cpu_ratio_limit:
        result += [
            _plain("CORES_MIN", "1"),
            _plain("CORES_MAX_RATIO", f"{proxy.cpu_ratio_limit:g}"),
        ]
    result += [
        _plain("SHUTDOWN_ENDPOINT_ENABLED", _flag(proxy.enable_shutdown_endpoint)),
        _plain("LOG", _log(proxy.log_level, proxy.log_http_headers)),
        _plain("LOG_FORMAT", proxy.log_format),
    ]
    if proxy.shutdown_grace_period:
        result.append(_plain("SHUTDOWN_GRACE_PERIOD", proxy.shutdown_grace_period))
    if proxy.access_log:
        result.append(_plain("ACCESS_LOG", proxy.access_log))
    return result


def _discovery(values: Values, addresses: Addresses) -> list[dict[str, Any]]:
    workload = '{"ns":"$(_pod_ns)", "pod":"$(_pod_name)"}'
    context = '{"ns":"$(_pod_ns)", "nodeName":"$(_pod_nodeName)", "pod":"$(_pod_name)"}'
    return [
        _plain("DESTINATION_SVC_ADDR", addresses.destination),
        _plain("DESTINATION_PROFILE_NETWORKS", values.cluster_networks),
        _plain("DESTINATION_PROFILE_SUFFIXES", f"svc.{values.cluster_domain}."),
        _plain("DESTINATION_CONTEXT", context),
        _plain("POLICY_SVC_ADDR", addresses.policy),
        _plain("POLICY_WORKLOAD", workload),
        _plain("INBOUND_DEFAULT_POLICY", values.proxy.default_inbound_policy),
        _plain("POLICY_CLUSTER_NETWORKS", values.cluster_networks),
        _plain("CONTROL_STREAM_INITIAL_TIMEOUT", "3s"),
        _plain("CONTROL_STREAM_IDLE_TIMEOUT", "5m"),
        _plain("CONTROL_STREAM_LIFETIME", "1h"),
    ]


def _limits(values: Values) -> list[dict[str, Any]]:
    proxy = values.proxy
    result = [
        _plain("INBOUND_CONNECT_TIMEOUT", proxy.inbound_connect_timeout),
        _plain("OUTBOUND_CONNECT_TIMEOUT", proxy.outbound_connect_timeout),
        _plain("OUTBOUND_DISCOVERY_IDLE_TIMEOUT", proxy.outbound_discovery_cache_unused_timeout),
        _plain("INBOUND_DISCOVERY_IDLE_TIMEOUT", proxy.inbound_discovery_cache_unused_timeout),
        _plain("INBOUND_ACCEPT_KEEPALIVE", "10000ms"),
        _plain("OUTBOUND_CONNECT_KEEPALIVE", "10000ms"),
        _plain("INBOUND_ACCEPT_USER_TIMEOUT", "30s"),
        _plain("OUTBOUND_CONNECT_USER_TIMEOUT", "30s"),
        _plain("OUTBOUND_METRICS_HOSTNAME_LABELS", _flag(proxy.metrics_hostname_labels)),
        _plain("INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL", "10s"),
        _plain("INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT", "3s"),
        _plain("OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL", "10s"),
        _plain("OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT", "3s"),
    ]
    if proxy.disable_inbound_protocol_detect_timeout:
        result.append(_plain("INBOUND_DETECT_TIMEOUT", _NEVER))
    if proxy.disable_outbound_protocol_detect_timeout:
        result.append(_plain("OUTBOUND_DETECT_TIMEOUT", _NEVER))
    return result


def _listeners(values: Values, inbound_ports: str) -> list[dict[str, Any]]:
    ports = values.proxy.ports
    everywhere = "0.0.0.0" if values.disable_ipv6 else "[::]"  # noqa: S104 - a pod's own address
    outbound = f"127.0.0.1:{ports.outbound}"
    both = outbound if values.disable_ipv6 else f"{outbound},[::1]:{ports.outbound}"
    return [
        _plain("CONTROL_LISTEN_ADDR", f"{everywhere}:{ports.control}"),
        _plain("ADMIN_LISTEN_ADDR", f"{everywhere}:{ports.admin}"),
        _plain("OUTBOUND_LISTEN_ADDR", outbound),
        _plain("OUTBOUND_LISTEN_ADDRS", both),
        _plain("INBOUND_LISTEN_ADDR", f"{everywhere}:{ports.inbound}"),
        _field("LINKERD2_PROXY_INBOUND_IPS", "status.podIPs"),
        _plain("INBOUND_PORTS", inbound_ports),
        _plain("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", values.proxy.opaque_ports),
    ]


def _options(values: Values) -> list[dict[str, Any]]:
    proxy = values.proxy
    result = []
    if proxy.require_identity_on_inbound_ports:
        required = proxy.require_identity_on_inbound_ports
        result.append(_plain("INBOUND_PORTS_REQUIRE_IDENTITY", required))
    if proxy.is_gateway:
        result.append(_plain("INBOUND_GATEWAY_SUFFIXES", f"svc.{values.cluster_domain}."))
    if proxy.is_ingress:
        result.append(_plain("INGRESS_MODE", "true"))
    return result


def _identity(
    values: Values, control_plane_ns: str, addresses: Addresses, anchors: TrustAnchors
) -> list[dict[str, Any]]:
    suffix = f"{control_plane_ns}.serviceaccount.identity.{control_plane_ns}.{values.trust_domain}"
    projected = values.identity.service_account_token_projection
    token = f"{TOKEN_DIR}/linkerd-identity-token" if projected else _API_TOKEN
    bundle: dict[str, Any] = {"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"}
    if anchors.pem is None:
        reference = {"name": names.TRUST_ROOTS, "key": "ca-bundle.crt"}
        bundle["valueFrom"] = {"configMapKeyRef": reference}
    else:
        bundle["value"] = anchors.pem
    return [
        {"name": "_l5d_ns", "value": control_plane_ns},
        {"name": "_l5d_trustdomain", "value": values.trust_domain},
        _plain("IDENTITY_DIR", END_ENTITY_DIR),
        bundle,
        _plain("IDENTITY_TOKEN_FILE", token),
        _plain("IDENTITY_SVC_ADDR", addresses.identity),
        _plain(
            "IDENTITY_LOCAL_NAME",
            "$(_pod_sa).$(_pod_ns).serviceaccount.identity.$(_l5d_ns).$(_l5d_trustdomain)",
        ),
        _plain("IDENTITY_SVC_NAME", f"linkerd-identity.{suffix}"),
        _plain("DESTINATION_SVC_NAME", f"linkerd-destination.{suffix}"),
        _plain("POLICY_SVC_NAME", f"linkerd-destination.{suffix}"),
    ]


def _plain(name: str, value: str) -> dict[str, Any]:
    return {"name": f"LINKERD2_PROXY_{name}", "value": value}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _log(level: str, headers: str) -> str:
    """Linkerd hides headers unless told `insecure`; a filter directive says so to the proxy."""
    directive = "debug" if headers == "insecure" else "off"
    return f"{level},[{{headers}}]={directive},[{{request}}]={directive}"


def _cores(limit: str) -> int:
    """Worker threads for a CPU limit: whole cores, rounded up; 0 without a limit."""
    if not limit:
        return 0
    cores = Decimal(limit[:-1]) / 1000 if limit.endswith("m") else Decimal(limit)
    return max(1, math.ceil(cores))
