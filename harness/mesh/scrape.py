"""Reading a proxy's metrics: Linkerd's names and labels, as what all meshes can be asked."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from harness.mesh.protocol import Answer, Telemetry, Unsecured

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """What was counted of requests, responses and latencies on ports other than the proxy's own."""
    asked: Counter[tuple[str, str]] = Counter()
    answers: Counter[Answer] = Counter()
    timed: Counter[tuple[str, str, int]] = Counter()
    unsecured: Counter[tuple[str, Unsecured]] = Counter()
    requests: Counter[tuple[str, int, bool]] = Counter()
    peers: Counter[tuple[str, str]] = Counter()
    for labels, count in _of_others(metrics, "request_total", admin_port):
        asked[labels["direction"], _peer(labels)] += count
    for labels, count in _of_others(metrics, "response_latency_ms_count", admin_port):
        timed[labels["direction"], _peer(labels), _status(labels)] += count
    for labels, count in _of_others(metrics, "response_total", admin_port):
        answer = _answer(labels)
        answers[answer] += count
        secured = labels.get("tls") == "true"
        requests[answer.direction, answer.status, secured] += count
        if secured:
            peers[answer.direction, answer.peer] += count
        else:
            reason = labels.get("no_tls_reason", "")
            unsecured[answer.direction, _REASONS.get(reason, Unsecured.UNEXPLAINED)] += count
    return Telemetry(
        asked=dict(asked),
        answers=dict(answers),
        timed=dict(timed),
        requests=dict(requests),
        peers=dict(peers),
        unsecured=dict(unsecured),
        client_identities=_named(peers, "inbound"),
        server_identities=_named(peers, "outbound"),
    )


def _of_others(metrics: str, name: str, admin_port: int) -> Iterator[tuple[dict[str, str], int]]:
    for labels, value in samples(metrics, name):
        if labels.get("target_port") != str(admin_port):
            yield {"direction": "", **labels}, round(value)


def _answer(labels: dict[str, str]) -> Answer:
    grpc_status = labels.get("grpc_status")
    return Answer(
        direction=labels["direction"],
        peer=_peer(labels),
        status=_status(labels),
        success=labels.get("classification") == "success",
        grpc_status=int(grpc_status) if grpc_status else None,
    )


def _peer(labels: dict[str, str]) -> str:
    if labels.get("tls") != "true":
        return ""
    return labels.get(_PEER_LABELS.get(labels["direction"], ""), "")


def _status(labels: dict[str, str]) -> int:
    return int(labels.get("status_code") or 0)


def _named(peers: Counter[tuple[str, str]], direction: str) -> frozenset[str]:
    return frozenset(
        identity
        for (of, identity), count in peers.items()
        if of == direction and identity and count
    )
