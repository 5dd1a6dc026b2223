"""
The configuration of one Envoy sidecar: both directions intercepted, mutual TLS between peers.

Static, so that the mesh has no control plane: every connection goes where the application wanted it
to go (`original_dst`), outbound ones wrapped in TLS, inbound ones unwrapped. Plaintext from outside
the mesh is let through, which is what a permissive mesh does.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ADMIN_PORT", "INBOUND_PORT", "OUTBOUND_PORT", "bootstrap"]

INBOUND_PORT = 15006
OUTBOUND_PORT = 15001
ADMIN_PORT = 15000
_CERTIFICATES = "/etc/envoy/tls"
_API = "type.googleapis.com/envoy.extensions"
_CONNECT_TIMEOUT = "1s"


def bootstrap() -> dict[str, Any]:
    """Envoy's bootstrap document; certificates are read from the mounted secret."""
    return {
        "admin": {"address": _address(ADMIN_PORT)},
        "static_resources": {
            "listeners": [_outbound_listener(), _inbound_listener()],
            "clusters": [
                _original_destination("outbound", tls=_upstream_tls()),
                _original_destination("inbound", tls=None),
            ],
        },
    }


def _outbound_listener() -> dict[str, Any]:
    return {
        "name": "outbound",
        "address": _address(OUTBOUND_PORT),
        "listener_filters": [_listener_filter("original_dst", "OriginalDst")],
        "filter_chains": [{"filters": [_http("outbound")]}],
    }


def _inbound_listener() -> dict[str, Any]:
    tls = {
        "filter_chain_match": {"transport_protocol": "tls"},
        "transport_socket": _downstream_tls(),
        "filters": [_http("inbound")],
    }
    plaintext = {
        "filter_chain_match": {"transport_protocol": "raw_buffer"},
        "filters": [_http("inbound")],
    }
    return {
        "name": "inbound",
        "address": _address(INBOUND_PORT),
        "listener_filters": [
            _listener_filter("original_dst", "OriginalDst"),
            _listener_filter("tls_inspector", "TlsInspector"),
        ],
        "filter_chains": [tls, plaintext],
    }


def _http(cluster: str) -> dict[str, Any]:
    manager = f"{_API}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_API}.filters.http.router.v3.Router"},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": manager,
            "stat_prefix": cluster,
            "codec_type": "AUTO",
            "http_filters": [router],
            "route_config": {"virtual_hosts": [{"name": "*", "domains": ["*"], "routes": [route]}]},
        },
    }


def _original_destination(name: str, tls: dict[str, Any] | None) -> dict[str, Any]:
    protocols = f"{_API}.upstreams.http.v3.HttpProtocolOptions"
    cluster: dict[str, Any] = {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": _CONNECT_TIMEOUT,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": protocols,
                "use_downstream_protocol_config": {"http_protocol_options": {}},
            }
        },
    }
    if tls:
        cluster["transport_socket"] = tls
    return cluster


def _upstream_tls() -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_API}.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": _common_tls(),
        },
    }


def _downstream_tls() -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_API}.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": True,
            "common_tls_context": _common_tls(),
        },
    }


def _common_tls() -> dict[str, Any]:
    return {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            # A client of Envoy's stops at 1.2 unless told otherwise.
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificates": [
            {
                "certificate_chain": {"filename": f"{_CERTIFICATES}/tls.crt"},
                "private_key": {"filename": f"{_CERTIFICATES}/tls.key"},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": f"{_CERTIFICATES}/ca.crt"}},
    }


def _listener_filter(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": f"envoy.filters.listener.{name}",
        "typed_config": {"@type": f"{_API}.filters.listener.{name}.v3.{kind}"},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "0.0.0.0", "port_value": port}}  # noqa: S104 - a pod's own
