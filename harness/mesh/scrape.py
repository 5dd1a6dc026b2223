"""Reading a proxy's metrics: Linkerd's names and labels, as what all meshes can be asked."""

from __future__ import annotations

import re
from collections import Counter

from harness.mesh.protocol import Telemetry, Unsecured

__all__ = ["linkerd", "samples"]

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$")
_PEER_LABELS = {"inbound": "client_id", "outbound": "server_id"}
_REASONS = {
    "no_tls_from_remote": Unsecured.CLIENT_IN_PLAINTEXT,
    "not_provided_by_service_discovery": Unsecured.SERVER_NOT_IN_MESH,
    "port_skipped": Unsecured.NOT_LOOKED_AT,
}
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(metrics: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Every sample of the metric `name` in Prometheus text, as `(labels, value)`."""
    found = []
    for line in metrics.splitlines():
        match = _SAMPLE.match(line)
        if match and match[1] == name:
            found.append((dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return found


def linkerd(metrics: str, admin_port: int) -> Telemetry:
    """What `response_total` counted on ports other than the proxy's own, and its peers."""
    requests: Counter[tuple[str, int, bool]] = Counter()
    peers: Counter[tuple[str, str]] = Counter()
    unsecured: Counter[tuple[str, Unsecured]] = Counter()
    for labels, value in samples(metrics, "response_total"):
        if labels.get("target_port") == str(admin_port):
            continue
        direction, count = labels.get("direction", ""), round(value)
        secured = labels.get("tls") == "true"
        requests[direction, int(labels.get("status_code") or 0), secured] += count
        if secured:
            peers[direction, labels.get(_PEER_LABELS.get(direction, ""), "")] += count
        else:
            reason = labels.get("no_tls_reason", "")
            unsecured[direction, _REASONS.get(reason, Unsecured.UNEXPLAINED)] += count
    return Telemetry(
        requests=dict(requests),
        peers=dict(peers),
        unsecured=dict(unsecured),
        client_identities=_named(peers, "inbound"),
        server_identities=_named(peers, "outbound"),
    )


def _named(peers: Counter[tuple[str, str]], direction: str) -> frozenset[str]:
    return frozenset(
        identity
        for (of, identity), count in peers.items()
        if of == direction and identity and count
    )
