"""Reading a proxy's metrics: Linkerd's names and labels, as what all meshes can be asked."""

from __future__ import annotations

import re
from collections import Counter

from harness.mesh.protocol import Telemetry

__all__ = ["linkerd", "samples"]

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(metrics: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Every sample of the metric `name` in Prometheus text, as `(labels, value)`."""
    found = []
    for line in metrics.splitlines():
        match = _SAMPLE.match(line)
        if match and match[1] == name:
            found.append((dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return found


def linkerd(metrics: str) -> Telemetry:
    """What `response_total` counted, and the peers named on any sample that was secured."""
    requests: Counter[tuple[str, int, bool]] = Counter()
    clients: set[str] = set()
    servers: set[str] = set()
    for labels, value in samples(metrics, "response_total"):
        secured = labels.get("tls") == "true"
        status = int(labels.get("status_code") or 0)
        requests[labels.get("direction", ""), status, secured] += round(value)
        if secured and value:
            clients.update(filter(None, [labels.get("client_id")]))
            servers.update(filter(None, [labels.get("server_id")]))
    return Telemetry(
        requests=dict(requests),
        client_identities=frozenset(clients),
        server_identities=frozenset(servers),
    )
