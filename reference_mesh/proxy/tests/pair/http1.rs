//! HTTP/1 from end to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::control::endpoints;
use crate::{CLIENT, EMPTY, Mesh, app, exchange, plain_state, read_head, serve_once};

#[tokio::test]
async fn http_1_reaches_the_application_over_mutual_tls() {
    let mesh = Mesh::start(plain_state()).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-own: 1\r\n\
                  connection: close, x-own\r\n\r\nhi";
    let served = serve_once(mesh.listen(), answer);
    let request = "GET /a?b HTTP/1.1\r\nHost: web\r\nl5d-client-id: forged\r\n\
                   connection: close, x-hop\r\nx-hop: 1\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert!(
        !answer.contains("x-own") && !answer.contains("l5d-"),
        "{answer}"
    );

    let head = served.await.expect("served");
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: web\r\n"), "{head}");
    assert!(
        head.contains(&format!("l5d-client-id: {CLIENT}\r\n")),
        "{head}"
    );
    assert!(
        !head.contains("forged") && !head.contains("x-hop"),
        "{head}"
    );
    let labels = [
        "response_total{",
        "inbound",
        "tls=\"true\"",
        CLIENT,
        "status_code=\"200\"",
    ];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
}

#[tokio::test]
async fn an_endpoint_without_identity_gets_plain_text() {
    let mesh = Mesh::start(plain_state()).await;
    mesh.control
        .state
        .send_modify(|state| state.endpoints = endpoints(&[app()], None));
    let served = serve_once(mesh.listen(), EMPTY);
    let request = "GET / HTTP/1.1\r\nHost: web\r\nl5d-client-id: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = served.await.expect("served");
    assert!(!head.contains("l5d-"), "{head}");
    let labels = [
        "request_total{",
        "inbound",
        "no_tls_reason=\"no_tls_from_remote\"",
    ];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
}

#[tokio::test]
async fn connections_to_the_application_are_used_again() {
    let mesh = Mesh::start(plain_state()).await;
    let connections = count_and_serve(mesh.listen());
    let mut stream = mesh.dial();
    for _ in 0..50 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            .await
            .expect("write");
        let head = read_head(&mut stream).await.expect("response");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn old_forms_of_requests_arrive_as_they_were() {
    let mesh = Mesh::start(plain_state()).await;
    for (request, start) in [
        ("GET /old HTTP/1.0\r\n\r\n", "GET /old HTTP/1.0\r\n"),
        (
            "GET http://web/abs HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n",
            "GET http://web/abs HTTP/1.1\r\n",
        ),
        (
            "GET /nohost HTTP/1.1\r\nconnection: close\r\n\r\n",
            "GET /nohost HTTP/1.1\r\n",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n",
            "OPTIONS * HTTP/1.1",
        ),
    ] {
        let listener = mesh.listen();
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                       3\r\nabc\r\n0\r\n\r\n";
        let served = serve_once(listener, chunked);
        let answer = exchange(mesh.dial(), request).await;
        if request.contains("1.0") {
            assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
        } else {
            assert!(answer.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{answer}");
        }
        let head = served.await.expect("served");
        assert!(head.starts_with(start), "{head}");
    }
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_reach_nobody() {
    let mesh = Mesh::start(plain_state()).await;
    for request in [
        "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nX: a\rb\r\n\r\n",
    ] {
        // Nothing listens: a request that got through would be answered with 502.
        let answer = exchange(mesh.dial(), request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    let request = format!(
        "GET / HTTP/1.1\r\nHost: web\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let size = 3_000_000;
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let head = read_head(&mut stream).await.expect("head");
        let mut body = vec![0; size];
        stream.read_exact(&mut body).await.expect("body");
        let head_out = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head_out.as_bytes()).await.expect("write");
        stream
            .write_all(format!("{size:x}\r\n").as_bytes())
            .await
            .expect("write");
        stream.write_all(&body).await.expect("write");
        stream
            .write_all(b"\r\n0\r\nx-sum: 7\r\n\r\n")
            .await
            .expect("write");
        head
    });
    let stream = mesh.dial();
    let (mut reader, mut writer) = stream.into_split();
    let body: Vec<u8> = (0..size).map(|i| b'a' + (i % 26) as u8).collect();
    let sent = body.clone();
    let upload = tokio::spawn(async move {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: web\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).await.expect("write");
        writer.write_all(&sent).await.expect("write");
        writer
    });
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).await.expect("read");
    upload.await.expect("upload");
    assert!(answer.ends_with(b"0\r\nx-sum: 7\r\n\r\n"));
    let letters = answer
        .iter()
        .filter(|byte| byte.is_ascii_lowercase())
        .count();
    assert!(letters >= size, "{letters}");
    assert!(
        served
            .await
            .expect("served")
            .contains(&format!("content-length: {size}\r\n"))
    );
}

#[tokio::test]
async fn head_and_interim_responses_have_no_body() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let served = serve_once(listener, "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n");
    let request = "HEAD / HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(
        answer.contains("content-length: 99\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    served.await.expect("served");

    let hints = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let served = serve_once(mesh.listen(), hints);
    let request = "GET / HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(
        answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204"),
        "{answer}"
    );
    assert!(
        !answer.contains("content-length") && !answer.contains("chunked"),
        "{answer}"
    );
    served.await.expect("served");
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        read_head(&mut stream).await.expect("head");
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .expect("write");
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.expect("body");
        stream.write_all(EMPTY.as_bytes()).await.expect("write");
        body
    });
    let mut stream = mesh.dial();
    let head = "POST / HTTP/1.1\r\nHost: web\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("write");
    let interim = read_head(&mut stream).await.expect("interim");
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    stream.write_all(b"body").await.expect("write");
    let answer = read_head(&mut stream).await.expect("answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(&served.await.expect("served"), b"body");
}

#[tokio::test]
async fn a_websocket_becomes_a_tunnel() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let head = read_head(&mut stream).await.expect("head");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                      connection: upgrade\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).await.expect("write");
        let mut frames = Vec::new();
        stream.read_to_end(&mut frames).await.expect("read");
        stream.write_all(b"last").await.expect("write");
        (head, frames)
    });
    let mut stream = mesh.dial();
    let request = "GET /ws HTTP/1.1\r\nHost: web\r\nconnection: keep-alive, Upgrade\r\n\
                   upgrade: websocket\r\n\r\nearly";
    stream.write_all(request.as_bytes()).await.expect("write");
    let head = read_head(&mut stream).await.expect("response");
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket"),
        "{head}"
    );
    stream.write_all(b" late").await.expect("write");
    stream.shutdown().await.expect("shutdown");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.expect("read");
    assert_eq!(rest, "firstlast");
    let (head, frames) = served.await.expect("served");
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade"),
        "{head}"
    );
    assert_eq!(frames, b"early late");
    let labels = ["request_total{", "inbound", "tls=\"true\""];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
}

#[tokio::test]
async fn an_application_that_is_down_is_a_502() {
    let mesh = Mesh::start(plain_state()).await;
    let request = "GET / HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("l5d-proxy-error: "), "{answer}");
}

/// A request that its application dies of must not kill it again and again.
#[tokio::test]
async fn a_request_is_sent_again_only_where_its_connection_was_kept() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    // Each connection answers one request; at the next one, and at any for `/fatal`, it ends.
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut answered = false;
                while let Some(head) = read_head(&mut stream).await {
                    let path = head.split(' ').nth(1).expect("path").to_owned();
                    let ends = answered || path == "/fatal";
                    let _ = seen.send(path);
                    if ends {
                        return;
                    }
                    stream.write_all(EMPTY.as_bytes()).await.expect("write");
                    answered = true;
                }
            });
        }
    });
    for (path, status) in [("/fatal", "502"), ("/first", "200"), ("/second", "200")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n");
        let answer = exchange(mesh.dial(), request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
    }
    served.abort();
    let mut paths = Vec::new();
    while let Ok(path) = requests.try_recv() {
        paths.push(path);
    }
    assert_eq!(paths, ["/fatal", "/first", "/second", "/second"]);
}

#[tokio::test]
async fn many_clients_share_what_connections_they_need() {
    const CLIENTS: usize = 32;
    const REQUESTS: usize = 50;
    let mesh = Mesh::start(plain_state()).await;
    let connections = count_and_serve(mesh.listen());
    let clients = (0..CLIENTS).map(|_| {
        let mut stream = mesh.dial();
        tokio::spawn(async move {
            for _ in 0..REQUESTS {
                let request = b"POST / HTTP/1.1\r\nHost: web\r\ncontent-length: 5\r\n\r\nhello";
                stream.write_all(request).await.expect("write");
                let head = read_head(&mut stream).await.expect("response");
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("client");
    }
    assert!(connections.load(Ordering::Relaxed) <= CLIENTS);
    let labels = ["response_total{", "outbound", "status_code=\"200\""];
    assert_eq!(
        mesh.client.metric(&labels).await,
        Some((CLIENTS * REQUESTS) as f64)
    );
    let between = ["tcp_open_total{", "outbound", "peer=\"dst\""];
    assert_eq!(mesh.client.metric(&between).await, Some(1.0));
}

/// Serves all requests, with their bodies of five bytes; counts the connections.
fn count_and_serve(listener: tokio::net::TcpListener) -> Arc<AtomicUsize> {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    if head.starts_with("POST") {
                        stream.read_exact(&mut [0; 5]).await.expect("body");
                    }
                    stream.write_all(EMPTY.as_bytes()).await.expect("write");
                }
            });
        }
    });
    connections
}

#[tokio::test]
async fn a_request_without_an_answer_counts_as_a_failure_of_its_endpoint() {
    // A port that no proxy is in front of: what is seen is the application's own doing.
    let bare = "10.77.0.2:4190";
    let mut state = plain_state();
    state.endpoints = endpoints(&[bare.parse().expect("address")], None);
    let mesh = Mesh::start(state).await;
    let listener = mesh.server.netns.listen(bare);
    let closes = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        read_head(&mut stream).await.expect("request");
    });
    // Not to be sent twice: nobody knows what the first one did.
    let request = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    closes.await.expect("closed");

    let failure = "classification=\"failure\",grpc_status=\"\",error=\"IO\"";
    for labels in [
        &["request_total{", "outbound", bare][..],
        &["response_total{", "outbound", bare, failure],
        &["outbound_http_route_backend_requests_total{"],
        &[
            "outbound_http_route_backend_response_statuses_total{",
            "error=\"IO\"",
        ],
    ] {
        assert_eq!(mesh.client.metric(labels).await, Some(1.0), "{labels:?}");
    }
}
