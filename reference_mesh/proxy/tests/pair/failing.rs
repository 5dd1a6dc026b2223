//! Endpoints whose application fails, and connections that break.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::control::{endpoints, server, to_balancer};
use crate::{EMPTY, Mesh, REQUEST, SERVER, app, exchange, in_time, plain_state, serve};

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

/// A stream that breaks on one side of the two proxies, and how it ends on the other.
#[tokio::test]
async fn an_opaque_stream_that_breaks_off_does_not_look_complete() {
    let mut state = plain_state();
    state.outbound = to_balancer(true);
    state.server = server(None, true);
    let mesh = Mesh::start(state).await;
    let listener = mesh.listen();
    for breaks_client in [true, false] {
        let mut client = mesh.dial();
        let (mut served, _) = listener.accept().await.expect("accept");
        client.write_all(b"part").await.expect("write");
        served.read_exact(&mut [0; 4]).await.expect("read");
        let (broken, other): (TcpStream, TcpStream) = if breaks_client {
            (client, served)
        } else {
            (served, client)
        };
        broken.set_zero_linger().expect("socket");
        drop(broken);
        let mut other = other;
        let end = in_time(other.read(&mut [0; 4])).await;
        let error = end.expect_err("no ordinary end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
}
