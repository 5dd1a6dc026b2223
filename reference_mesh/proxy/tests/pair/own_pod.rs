//! A pod that is an endpoint of what it calls: on that way is no proxy but the one that sends.

use crate::control::{endpoints, server, to_balancer};
use crate::{CLIENT, EMPTY, Mesh, REQUEST, exchange, plain_state, serve_once};

#[tokio::test]
async fn a_pod_reaches_itself_without_its_own_inbound_side() {
    for opaque in [false, true] {
        let mut state = plain_state();
        state.outbound = to_balancer(opaque);
        let own = "10.77.0.1:8080";
        state.endpoints = endpoints(&[own.parse().expect("address")], Some(CLIENT));
        // Not even the pod itself.
        state.server = server(Some("nobody"), false);
        let mesh = Mesh::start_with(state, &[("INBOUND_IPS", "10.77.0.1")]).await;
        let served = serve_once(mesh.client.netns.listen(own), EMPTY);
        let answer = exchange(mesh.dial(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let head = served.await.expect("served");
        assert!(!head.contains("l5d-"), "{head}");
        let labels = [
            "tcp_open_total{",
            "peer=\"dst\"",
            "target_port=\"8080\"",
            "no_tls_reason=\"loopback\"",
        ];
        assert_eq!(mesh.client.metric(&labels).await, Some(1.0));
    }
}
