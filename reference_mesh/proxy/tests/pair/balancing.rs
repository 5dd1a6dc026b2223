//! Which endpoints get requests, where some join, refuse or swallow what is sent to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::control::{endpoints, half_meshed, removed};
use crate::{EMPTY, Mesh, REQUEST, SERVER, app, exchange, plain_state, serve};

/// Far less than a latency of 30 ms, assumed or taken from a dial, needs to fade to that of these
/// applications. In practice the first requests tell.
const SOON: Duration = Duration::from_secs(8);

/// Answers each request with its name.
fn serve_as(name: &'static str, listener: TcpListener) {
    let answer = format!("HTTP/1.1 200 OK\r\nx-by: {name}\r\ncontent-length: 0\r\n\r\n");
    serve(listener, answer.leak());
}

/// Sends requests, none of which may fail, until `name` has answered some.
async fn used_soon(mesh: &Mesh, name: &str) {
    let header = format!("x-by: {name}\r\n");
    let answered = timeout(SOON, async {
        let mut by_it = 0;
        while by_it < 5 {
            let answer = exchange(mesh.dial(), REQUEST).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            by_it += usize::from(answer.contains(&header));
        }
    });
    answered
        .await
        .unwrap_or_else(|_| panic!("{name} got less than 5 requests in {SOON:?}"));
}

#[tokio::test]
async fn an_endpoint_that_joins_gets_its_share() {
    let mesh = Mesh::start(plain_state()).await;
    serve_as("first", mesh.listen());
    used_soon(&mesh, "first").await;
    let joining: SocketAddr = "10.77.0.2:8081".parse().expect("address");
    serve_as("joining", mesh.server.netns.listen("10.77.0.2:8081"));
    mesh.control
        .state
        .send_modify(|state| state.endpoints = endpoints(&[app(), joining], Some(SERVER)));
    used_soon(&mesh, "joining").await;
}

#[tokio::test]
async fn an_endpoint_that_answers_again_gets_its_share() {
    let back: SocketAddr = "10.77.0.3:4190".parse().expect("address");
    let mut state = plain_state();
    state.endpoints = half_meshed([(app(), Some(SERVER)), (back, None)]);
    let mesh = Mesh::start_with(state, &[("OUTBOUND_CONNECT_TIMEOUT", "200ms")]).await;
    serve_as("first", mesh.listen());
    used_soon(&mesh, "first").await;
    mesh.server.netns.ip("addr add 10.77.0.3/24 dev eth0");
    serve_as("back", mesh.server.netns.listen("10.77.0.3:4190"));
    used_soon(&mesh, "back").await;
}

#[tokio::test]
async fn without_a_reachable_endpoint_requests_fail_fast_until_there_is_one() {
    let mut state = plain_state();
    let nowhere: SocketAddr = "10.77.0.2:9".parse().expect("address");
    state.endpoints = endpoints(&[nowhere], None);
    let mesh = Mesh::start(state).await;
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    mesh.control
        .state
        .send_modify(|state| state.endpoints = removed(&[nowhere]));
    let answer = loop {
        let answer = exchange(mesh.dial(), REQUEST).await;
        if answer.starts_with("HTTP/1.1 504 ") {
            break answer;
        }
    };
    assert!(
        answer.contains("l5d-proxy-error: service in fail-fast"),
        "{answer}"
    );
    let started = Instant::now();
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );

    let served = serve(mesh.listen(), EMPTY);
    mesh.control
        .state
        .send_modify(|state| state.endpoints = endpoints(&[app()], Some(SERVER)));
    while !exchange(mesh.dial(), REQUEST)
        .await
        .starts_with("HTTP/1.1 200 ")
    {}
    served.abort();
}

#[tokio::test]
async fn an_endpoint_that_refuses_costs_no_request() {
    let mut state = plain_state();
    let refused: SocketAddr = "10.77.0.3:8080".parse().expect("address");
    state.endpoints = endpoints(&[app(), refused], Some(SERVER));
    let mesh = Mesh::start_with(state, &[("OUTBOUND_CONNECT_TIMEOUT", "100ms")]).await;
    let served = serve(mesh.listen(), EMPTY);
    for _ in 0..50 {
        let answer = exchange(mesh.dial(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    served.abort();
}

/// A node that dies silently swallows what is sent to it.
#[tokio::test]
async fn an_endpoint_that_swallows_connections_is_retried_by_no_request() {
    let mut state = plain_state();
    let silent: SocketAddr = "10.77.0.3:8080".parse().expect("address");
    state.endpoints = endpoints(&[app(), silent], Some(SERVER));
    let timeout = Duration::from_secs(1);
    let mesh = Mesh::start_with(state, &[("OUTBOUND_CONNECT_TIMEOUT", "1s")]).await;
    let served = serve(mesh.listen(), EMPTY);
    let mut slow = 0;
    let started = Instant::now();
    // The first one finds out; then pauses of at most half a second and attempts alternate.
    while slow == 0 || started.elapsed() < 4 * timeout {
        let sent = Instant::now();
        let answer = exchange(mesh.dial(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        slow += usize::from(sent.elapsed() >= timeout);
    }
    assert_eq!(slow, 1, "requests that waited for the silent endpoint");
    served.abort();
}

/// As when its queue of connections to accept is full for a moment.
#[tokio::test]
async fn an_endpoint_that_takes_no_more_connections_keeps_those_it_has() {
    let mesh = Mesh::start(plain_state()).await;
    let served = serve(mesh.listen(), EMPTY);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    mesh.server.netns.refuse_connections(4143);
    // An upgrade goes on a connection of its own, of which there is none.
    let upgrade = "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade, close\r\nUpgrade: x\r\n\r\n";
    let refused = tokio::spawn(exchange(mesh.dial(), upgrade));
    let mut after = 0;
    while after < 10 {
        after += usize::from(refused.is_finished());
        let answer = exchange(mesh.dial(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let answer = refused.await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    served.abort();
}
