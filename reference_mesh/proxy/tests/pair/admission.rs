//! Who is let in.

use crate::control::server;
use crate::{CLIENT, EMPTY, Mesh, REQUEST, exchange, plain_state, serve};

#[tokio::test]
async fn requests_are_judged_by_the_policy_in_force() {
    let mut state = plain_state();
    state.server = server(Some(CLIENT), false);
    let mesh = Mesh::start(state).await;
    let served = serve(mesh.listen(), EMPTY);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    mesh.control
        .state
        .send_modify(|state| state.server = server(Some("nobody"), false));
    let answer = loop {
        let answer = exchange(mesh.dial(), REQUEST).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("l5d-proxy-error: "), "{answer}");
    assert!(
        mesh.server
            .metric(&["inbound_http_authz_deny_total{", CLIENT])
            .await
            >= Some(1.0)
    );
    served.abort();
}

#[tokio::test]
async fn a_client_outside_the_mesh_is_refused_with_403() {
    let mut state = plain_state();
    state.server = server(Some(CLIENT), false);
    let mesh = Mesh::start(state).await;
    // The proxy's user is spared by the redirection, so this goes to the server directly.
    let endpoints = crate::control::endpoints(&[crate::app()], None);
    mesh.control
        .state
        .send_modify(|state| state.endpoints = endpoints);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(!answer.contains("l5d-proxy-error"), "{answer}");
}
