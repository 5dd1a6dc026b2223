//! What is refused, and told so.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::control::server;
use crate::{EMPTY, Mesh, REQUEST, SERVER, exchange, in_time, plain_state, read_head, serve};

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

fn port(number: u16) -> SocketAddr {
    SocketAddr::new(crate::app().ip(), number)
}

#[tokio::test]
async fn a_scan_of_all_ports_looks_nothing_up() {
    let mesh = Mesh::start(plain_state()).await;
    let watches = || mesh.control.state.receiver_count();
    // Each pod watches the policies of its application's and its admin port.
    let at_rest = 4;
    let watched = async |wanted| {
        while watches() < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(watched(at_rest)).await;
    for number in 9000..9050 {
        drop(mesh.client.connect_past_proxy(port(number)));
    }
    // With bytes, it is more than a scan.
    let mut stream = mesh.client.connect_past_proxy(port(9100));
    stream.write_all(b"hello\n").await.expect("write");
    in_time(watched(at_rest + 1)).await;
    assert_eq!(watches(), at_rest + 1);
}

#[tokio::test]
async fn clients_name_only_so_many_ports() {
    let mesh = Mesh::start(plain_state()).await;
    let served = serve(mesh.listen(), EMPTY);
    // More than are watched at a time, and nothing listens on them.
    for number in 9000..9300 {
        let mut stream = mesh.client.connect_past_proxy(port(number));
        let _ = stream.write_all(b"hello\n").await;
        let _ = in_time(stream.read(&mut [0])).await;
    }
    let labels = ["inbound_tcp_errors_total{", "error=\"loadshed\""];
    assert!(mesh.server.metric(&labels).await >= Some(1.0));
    assert!(mesh.control.state.receiver_count() <= 4 + 256);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    served.abort();
}

#[tokio::test]
async fn a_server_may_speak_first_on_a_port_that_nobody_listed() {
    let mut state = plain_state();
    state.server = server(None, true);
    let mesh = Mesh::start_with(state, &[("INBOUND_DETECT_TIMEOUT", "100ms")]).await;
    let listener = mesh.server.netns.listen("10.77.0.2:2525");
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        stream.write_all(b"220 ready\r\n").await.expect("write");
    });
    // The first client finds out what the port is.
    let mut greeting = String::new();
    while greeting.is_empty() {
        let mut stream = mesh.client.connect_past_proxy(port(2525));
        let _ = in_time(stream.read_to_string(&mut greeting)).await;
    }
    assert_eq!(greeting, "220 ready\r\n");
    served.await.expect("served");
}
