"""Prometheus text as Linkerd's proxies write it."""

from __future__ import annotations

from harness.mesh import scrape
from harness.mesh.protocol import Unsecured

METRICS = r"""
# HELP response_total Total count of HTTP responses.
# TYPE response_total counter
response_total{direction="inbound",tls="true",client_id="a.x",status_code="200"} 3
response_total{direction="inbound",tls="true",client_id="b.x",status_code="200"} 4
response_total{direction="inbound",no_tls_reason="no_tls_from_remote",status_code="403"} 2
response_total{direction="outbound",tls="true",server_id="s.x",status_code="500"} 1
response_total{direction="outbound",tls="true",server_id="unused.x",status_code="200"} 0
response_total{direction="inbound",target_port="4191",tls="no_identity",status_code="200"} 9
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
