"""Prometheus text as Linkerd's proxies write it."""

from __future__ import annotations

from harness.mesh import scrape
from harness.mesh.protocol import Answer, Unsecured

METRICS = r"""
# HELP response_total Total count of HTTP responses.
# TYPE response_total counter
response_total{direction="inbound",tls="true",client_id="a.x",status_code="200"} 3
response_total{direction="inbound",tls="true",client_id="b.x",status_code="200"} 4
response_total{direction="inbound",no_tls_reason="no_tls_from_remote",status_code="403"} 2
response_total{direction="outbound",tls="true",server_id="s.x",status_code="500"} 1
response_total{direction="outbound",tls="true",server_id="unused.x",status_code="200"} 0
response_total{direction="inbound",target_port="4191",tls="no_identity",status_code="200"} 9
request_total{direction="inbound",tls="true",client_id="a.x"} 3
request_total{direction="inbound",no_tls_reason="no_tls_from_remote"} 2
request_total{direction="inbound",target_port="4191",tls="no_identity"} 9
response_latency_ms_bucket{direction="inbound",tls="true",client_id="a.x",le="1"} 2
response_latency_ms_count{direction="inbound",tls="true",client_id="a.x",status_code="200"} 3
process_open_fds 12
"""
ADMIN_PORT = 4191


def test_samples_have_labels_and_values() -> None:
    assert scrape.samples(METRICS, "process_open_fds") == [({}, 12.0)]
    assert [value for _, value in scrape.samples(METRICS, "response_total")] == [3, 4, 2, 1, 0, 9]


def test_responses_are_summed_over_peers() -> None:
    assert scrape.linkerd(METRICS, ADMIN_PORT).requests == {
        ("inbound", 200, True): 7,
        ("inbound", 403, False): 2,
        ("outbound", 500, True): 1,
        ("outbound", 200, True): 0,
    }


def test_only_peers_that_were_heard_of_count() -> None:
    found = scrape.linkerd(METRICS, ADMIN_PORT)
    assert found.client_identities == {"a.x", "b.x"}
    assert found.server_identities == {"s.x"}
    assert found.peers["inbound", "b.x"] == 4


def test_what_was_not_secured_has_its_reason() -> None:
    found = scrape.linkerd(METRICS, ADMIN_PORT)
    assert found.unsecured == {("inbound", Unsecured.CLIENT_IN_PLAINTEXT): 2}


def test_requests_and_latencies_are_counted_by_peer() -> None:
    found = scrape.linkerd(METRICS, ADMIN_PORT)
    assert found.asked == {("inbound", "a.x"): 3, ("inbound", ""): 2}
    assert found.timed == {("inbound", "a.x", 200): 3}


def test_answers_have_their_judgement() -> None:
    """A gRPC response has a status of its own, which decides."""
    labels = 'direction="inbound",tls="true",client_id="a.x",status_code="200"'
    metrics = (
        f'response_total{{{labels},classification="success",grpc_status="",error=""}} 1\n'
        f'response_total{{{labels},classification="success",grpc_status="5",error=""}} 2\n'
        f'response_total{{{labels},classification="failure",grpc_status="14",error=""}} 3\n'
    )
    assert scrape.linkerd(metrics, ADMIN_PORT).answers == {
        Answer("inbound", "a.x", 200, True, None): 1,
        Answer("inbound", "a.x", 200, True, 5): 2,
        Answer("inbound", "a.x", 200, False, 14): 3,
    }
