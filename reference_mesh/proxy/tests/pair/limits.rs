//! What is refused, and told so.

use std::io::ErrorKind;

use tokio::io::AsyncWriteExt as _;

use crate::{Mesh, SERVER, exchange, plain_state, read_head, serve};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn more_requests_than_may_be_under_way_are_shed() {
    let mesh = Mesh::start_with(plain_state(), &[("OUTBOUND_MAX_IN_FLIGHT", "1")]).await;
    let listener = mesh.listen();
    let mut first = mesh.dial();
    first.write_all(REQUEST.as_bytes()).await.expect("write");
    let (mut served, _) = listener.accept().await.expect("accept");
    read_head(&mut served).await.expect("request");

    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("l5d-proxy-error: service overloaded"),
        "{answer}"
    );
    let labels = ["outbound_http_errors_total{", "error=\"loadshed\""];
    assert_eq!(mesh.client.metric(&labels).await, Some(1.0));

    served.write_all(EMPTY.as_bytes()).await.expect("write");
    let answer = read_head(&mut first).await.expect("response");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Else the next request would come on a connection that nobody serves any more.
    drop((first, served));
    let served = serve(listener, EMPTY);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    served.abort();
}

#[tokio::test]
async fn a_required_identity_is_the_servers_or_nobodys() {
    let mesh = Mesh::start(plain_state()).await;
    let served = serve(mesh.listen(), EMPTY);
    let require = |id: &str| {
        format!("GET / HTTP/1.1\r\nHost: web\r\nl5d-require-id: {id}\r\nconnection: close\r\n\r\n")
    };
    let answer = exchange(mesh.dial(), require(SERVER)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = exchange(mesh.dial(), require("somebody.else")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(
        answer.contains("l5d-proxy-error: required id not satisfied"),
        "{answer}"
    );
    // The admin port is asked in the clear; what the client's proxy sent is not.
    let allowed = ["inbound_http_authz_allow_total{", "tls=\"true\""];
    assert_eq!(mesh.server.metric(&allowed).await, Some(1.0));
    served.abort();
}

#[tokio::test]
async fn nothing_listens_on_the_tap_port() {
    let mesh = Mesh::start(plain_state()).await;
    let tap = "127.0.0.1:4190".parse().expect("address");
    let error = mesh.server.netns.connect(tap).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
