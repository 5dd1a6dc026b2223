//! Endpoints whose application fails, and connections that break.

use std::net::SocketAddr;

use crate::control::endpoints;
use crate::{EMPTY, Mesh, REQUEST, SERVER, app, exchange, plain_state, serve};

/// Its proxy answers for it, faster than the others' applications can.
#[tokio::test]
async fn an_endpoint_whose_application_is_down_draws_no_requests() {
    const REQUESTS: usize = 200;
    let down: SocketAddr = "10.77.0.2:8081".parse().expect("address");
    let mut state = plain_state();
    state.endpoints = endpoints(&[app(), down], Some(SERVER));
    let mesh = Mesh::start(state).await;
    let served = serve(mesh.listen(), EMPTY);
    let mut failed = 0;
    for _ in 0..REQUESTS {
        let answer = exchange(mesh.dial(), REQUEST).await;
        failed += usize::from(answer.starts_with("HTTP/1.1 502 "));
    }
    assert!(failed > 0, "it is tried, too");
    assert!(failed < REQUESTS / 4, "{failed} of {REQUESTS} failed");
    served.abort();
}
