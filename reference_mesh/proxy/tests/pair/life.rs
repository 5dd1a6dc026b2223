//! Certificates that are renewed, watches that are given up, and the end.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::control::{endpoints, half_meshed};
use crate::pod::Pod;
use crate::{
    AT_REST, EMPTY, Mesh, REQUEST, SERVER, app, exchange, in_time, plain_state, read_head, serve,
};

pub(crate) fn signal(pod: &Pod, name: &str) {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, &pod.proxy.id().to_string()]);
    assert!(kill.status().expect("kill").success(), "{name}");
}

#[tokio::test]
async fn certificates_are_renewed_without_a_lost_request() {
    let mut state = plain_state();
    state.certificate_life = Duration::from_secs(2);
    let mesh = Mesh::start_with(state, &[("IDENTITY_MIN_REFRESH", "100ms")]).await;
    let served = serve(mesh.listen(), EMPTY);
    let mut stream = mesh.dial();
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < Duration::from_secs(4) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            .await
            .expect("write");
        let head = read_head(&mut stream).await.expect("response");
        assert!(head.starts_with("HTTP/1.1 200 "), "after {sent}: {head}");
        sent += 1;
    }
    let name = "control_identity_cert_refreshes_total";
    assert!(mesh.client.metric(&[name]).await >= Some(2.0));
    assert!(
        mesh.client
            .metric(&["tcp_open_total{", "outbound", "peer=\"dst\""])
            .await
            >= Some(2.0)
    );
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_requests_finish_and_takes_no_more() {
    let mut mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let mut stream = mesh.dial();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        .await
        .expect("write");
    let (mut served, _) = listener.accept().await.expect("accept");
    read_head(&mut served).await.expect("request");
    for pod in [&mesh.client, &mesh.server] {
        signal(pod, "TERM");
    }
    while mesh.client.netns.connect(crate::service()).is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.write_all(EMPTY.as_bytes()).await.expect("write");
    let head = read_head(&mut stream).await.expect("response");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("connection: close"),
        "{head}"
    );
    drop((stream, served));
    for pod in [&mut mesh.client, &mut mesh.server] {
        let status = tokio::task::block_in_place(|| pod.proxy.wait()).expect("wait");
        assert!(status.success(), "{status}");
    }
}

/// Requests that wait in the sockets of kept connections when the proxy is told to end.
#[tokio::test]
async fn a_drain_answers_the_requests_that_have_arrived() {
    let mesh = Mesh::start(plain_state()).await;
    let served = serve(mesh.listen(), EMPTY);
    let request = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
    let mut streams: Vec<_> = (0..20).map(|_| mesh.dial()).collect();
    for stream in &mut streams {
        stream.write_all(request).await.expect("write");
        read_head(stream).await.expect("response");
    }
    signal(&mesh.client, "STOP");
    for stream in &mut streams {
        stream.write_all(request).await.expect("write");
    }
    signal(&mesh.client, "TERM");
    signal(&mesh.client, "CONT");
    for mut stream in streams {
        let head = in_time(read_head(&mut stream)).await.expect("response");
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("connection: close"),
            "{head}"
        );
    }
    served.abort();
}

/// It stops in its preface, after what tells its protocol.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_does_not_hold_the_drain() {
    let mut mesh = Mesh::start(plain_state()).await;
    let mut stream = mesh.dial();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n")
        .await
        .expect("write");
    // With its settings the proxy begins to wait for the rest.
    stream.read_exact(&mut [0; 9]).await.expect("settings");
    signal(&mesh.client, "TERM");
    let ends = in_time(stream.read_to_end(&mut Vec::new())).await;
    // What was not read of it may make the end a reset.
    drop(ends);
    let status = tokio::task::block_in_place(|| mesh.client.proxy.wait()).expect("wait");
    assert!(status.success(), "{status}");
}

/// Of a service that is meshed in part, the next pick may have no proxy in front of it.
#[tokio::test]
async fn a_request_that_finds_its_connection_ending_goes_anywhere() {
    let bare: SocketAddr = "10.77.0.2:4190".parse().expect("address");
    let mut state = plain_state();
    state.endpoints = endpoints(&[bare], None);
    let mesh = Mesh::start(state).await;
    let (held, mut holders) = mpsc::channel(1);
    hold_or_answer(
        mesh.server.netns.listen("10.77.0.2:4190"),
        "bare",
        held.clone(),
    );
    hold_or_answer(mesh.listen(), "meshed", held);
    let mut waiting = Vec::new();
    let mut hold = async || {
        let mut stream = mesh.dial();
        let request = b"GET /held HTTP/1.1\r\nHost: web\r\n\r\n";
        stream.write_all(request).await.expect("write");
        waiting.push(stream);
        in_time(holders.recv()).await.expect("held")
    };
    // The more wait for it, the less it is picked.
    for _ in 0..3 {
        assert_eq!(hold().await, "bare");
    }
    mesh.control
        .state
        .send_modify(|state| state.endpoints = half_meshed([(app(), Some(SERVER)), (bare, None)]));
    while hold().await == "bare" {}
    signal(&mesh.server, "TERM");
    loop {
        let answer = exchange(mesh.dial(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        if answer.contains("x-by: bare") {
            break;
        }
    }
}

/// Answers requests with its name, and lets those for `/held` wait, telling of each.
fn hold_or_answer(listener: TcpListener, name: &'static str, held: mpsc::Sender<&'static str>) {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let held = held.clone();
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    if head.starts_with("GET /held ") {
                        held.send(name).await.expect("told");
                        continue;
                    }
                    let plain =
                        head.starts_with("GET / HTTP/1.1\r\n") && !head.contains("l5d-orig");
                    assert!(plain, "{head}");
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nx-by: {name}\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.expect("write");
                }
            });
        }
    });
}

#[tokio::test]
async fn what_nobody_uses_is_no_longer_watched() {
    let idle = [("OUTBOUND_DISCOVERY_IDLE_TIMEOUT", "100ms")];
    let mesh = Mesh::start_with(plain_state(), &idle).await;
    let served = serve(mesh.listen(), EMPTY);
    mesh.watched(|watches| watches >= AT_REST).await;
    for _ in 0..2 {
        let answer = exchange(mesh.dial(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let watches = mesh.control.state.receiver_count();
        assert!(watches > AT_REST, "policy, profile and endpoints");
        mesh.watched(|watches| watches <= AT_REST).await;
    }
    served.abort();
}
