//! Several data threads are one proxy.

use std::time::Instant;

use linkerd2_proxy_api::inbound::http_local_rate_limit::Limit;
use linkerd2_proxy_api::inbound::{self, HttpLocalRateLimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::control::{meta, server};
use crate::life::signal;
use crate::pod::Pod;
use crate::{EMPTY, Mesh, REQUEST, exchange, plain_state, read_head, serve};

const TWO: [(&str, &str); 1] = [("CORES", "2")];

/// A machine with one CPU has one data thread, whatever is asked for.
fn threads() -> f64 {
    // As the proxy counts them: the standard library rounds a quota down.
    if num_cpus::get() > 1 { 2.0 } else { 1.0 }
}

/// Connections with mesh TLS that a proxy has open.
async fn peers(pod: &Pod, direction: &str, peer: &str) -> f64 {
    let (direction, peer) = (format!("n=\"{direction}\""), format!("peer=\"{peer}\""));
    let open = ["tcp_open_connections{", &direction, &peer, "tls=\"true\""];
    pod.metric(&open).await.expect("counted")
}

/// Client connections with one request answered on each, which stay open.
async fn used(mesh: &Mesh, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = mesh.dial();
        let request = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
        stream.write_all(request).await.expect("write");
        let head = read_head(&mut stream).await.expect("response");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn each_thread_carries_its_share_and_metrics_are_the_sum() {
    let mesh = Mesh::start_with(plain_state(), &TWO).await;
    let served = serve(mesh.listen(), EMPTY);
    let streams = used(&mesh, 6).await;
    let requests = ["outbound_http_route_request_statuses_total{", "\"200\""];
    assert_eq!(mesh.client.metric(&requests).await, Some(6.0));
    // Each thread has a connection of its own to the peer, so both have carried requests.
    assert_eq!(peers(&mesh.client, "outbound", "dst").await, threads());
    assert_eq!(peers(&mesh.server, "inbound", "src").await, threads());
    drop(streams);
    served.abort();
}

#[tokio::test]
async fn requests_under_way_are_counted_across_threads() {
    let env = [TWO[0], ("OUTBOUND_MAX_IN_FLIGHT", "1")];
    let mesh = Mesh::start_with(plain_state(), &env).await;
    let listener = mesh.listen();
    let mut first = mesh.dial();
    first.write_all(REQUEST.as_bytes()).await.expect("write");
    let (mut served, _) = listener.accept().await.expect("accept");
    read_head(&mut served).await.expect("request");
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(
        answer.contains("l5d-proxy-error: service overloaded"),
        "{answer}"
    );
    served.write_all(EMPTY.as_bytes()).await.expect("write");
    let answer = read_head(&mut first).await.expect("response");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_rate_limit_is_of_all_threads() {
    let mut state = plain_state();
    state.server = limited(1);
    let mesh = Mesh::start_with(state, &TWO).await;
    let served = serve(mesh.listen(), EMPTY);
    // Both stay open, so each is carried by a thread of its own, here and at the server.
    let mut clients = [mesh.dial(), mesh.dial()];
    let started = Instant::now();
    let mut allowed = 0;
    for turn in 0..6 {
        let client = &mut clients[turn % 2];
        let request = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
        client.write_all(request).await.expect("write");
        let answer = read_head(client).await.expect("response");
        if answer.starts_with("HTTP/1.1 200 ") {
            allowed += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        }
    }
    let seconds = started.elapsed().as_secs();
    assert!(
        (1..=1 + seconds).contains(&allowed),
        "{allowed} in {seconds} s"
    );
    assert_eq!(peers(&mesh.server, "inbound", "src").await, threads());
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_over_when_every_thread_has_finished() {
    let mut mesh = Mesh::start_with(plain_state(), &TWO).await;
    let listener = mesh.listen();
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let mut stream = mesh.dial();
        let request = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
        stream.write_all(request).await.expect("write");
        let (mut served, _) = listener.accept().await.expect("accept");
        read_head(&mut served).await.expect("request");
        under_way.push((stream, served));
    }
    signal(&mesh.client, "TERM");
    for (mut stream, mut served) in under_way {
        assert_eq!(mesh.client.proxy.try_wait().expect("status"), None);
        served.write_all(EMPTY.as_bytes()).await.expect("write");
        let head = read_head(&mut stream).await.expect("response");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    let status = tokio::task::block_in_place(|| mesh.client.proxy.wait()).expect("wait");
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_takes_too_long_ends_every_thread() {
    let env = [TWO[0], ("SHUTDOWN_GRACE_PERIOD", "100ms")];
    let mut mesh = Mesh::start_with(plain_state(), &env).await;
    let listener = mesh.listen();
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let mut stream = mesh.dial();
        stream.write_all(REQUEST.as_bytes()).await.expect("write");
        let (mut served, _) = listener.accept().await.expect("accept");
        read_head(&mut served).await.expect("request");
        under_way.push((stream, served));
    }
    signal(&mesh.client, "TERM");
    let status = tokio::task::block_in_place(|| mesh.client.proxy.wait()).expect("wait");
    assert!(status.success(), "{status}");
}

/// A server that takes so many requests per second.
fn limited(requests_per_second: u32) -> inbound::Server {
    use inbound::proxy_protocol::Kind;
    let mut server = server(None, false);
    let protocol = server
        .protocol
        .as_mut()
        .and_then(|found| found.kind.as_mut());
    let Some(Kind::Detect(detect)) = protocol else {
        unreachable!("it detects");
    };
    detect.http_local_rate_limit = Some(HttpLocalRateLimit {
        metadata: meta("limit"),
        total: Some(Limit {
            requests_per_second,
        }),
        ..Default::default()
    });
    server
}
