//! Ingress mode: each request goes where its `l5d-dst-override` says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::control::endpoints;
use crate::{
    AT_REST, CLIENT, EMPTY, Mesh, REQUEST, SERVER, app, exchange, in_time, plain_state, read_head,
    serve, serve_once,
};

const API: &str = "api.ns.svc.cluster.local";

/// An application without a proxy: what the virtual address leads to.
const DIALLED: &str = "10.77.0.2:4190";

/// The virtual address leads to an application without a proxy, the name to the meshed one.
async fn mesh(ingress_mode: &str) -> Mesh {
    mesh_with(&[("INGRESS_MODE", ingress_mode)]).await
}

async fn mesh_with(more: &[(&str, &str)]) -> Mesh {
    let mut state = plain_state();
    let dialled: SocketAddr = DIALLED.parse().expect("address");
    state.endpoints = endpoints(&[dialled], None);
    let meshed = endpoints(&[app()], Some(SERVER));
    state.services.insert(format!("{API}:80"), meshed);
    let env = [&[("OUTBOUND_HTTP_FAILFAST_TIMEOUT", "200ms")], more].concat();
    Mesh::start_with(state, &env).await
}

fn naming(name: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: web\r\nconnection: close\r\nl5d-dst-override: {name}\r\n\r\n")
}

/// Sends a request without an end of the connection, and reads the head of the response.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    let request = request.replace("connection: close\r\n", "");
    stream.write_all(request.as_bytes()).await.expect("write");
    read_head(stream).await.expect("response")
}

#[tokio::test]
async fn requests_of_one_connection_go_where_each_says() {
    let mesh = mesh("true").await;
    let named = serve_once(mesh.listen(), EMPTY);
    let dialled = serve_once(mesh.server.netns.listen(DIALLED), EMPTY);
    let mut stream = mesh.dial();
    let answer = ask(&mut stream, &naming(API)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = in_time(named).await.expect("served");
    assert!(!head.contains("l5d-dst-override"), "{head}");
    assert!(head.contains(&format!("l5d-client-id: {CLIENT}")), "{head}");
    let tls = format!("server_id=\"{SERVER}\"");
    let labels = ["tcp_open_total{", "peer=\"dst\"", "tls=\"true\"", &tls];
    assert_eq!(mesh.client.metric(&labels).await, Some(1.0));

    let answer = ask(&mut stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = in_time(dialled).await.expect("served");
    assert!(!head.contains("l5d-client-id"), "{head}");
}

#[tokio::test]
async fn an_http_2_request_goes_where_it_says() {
    let mesh = mesh("true").await;
    let listener = mesh.listen();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        let accepted = connection.accept().await.expect("request");
        let (request, mut respond) = accepted.expect("valid");
        respond
            .send_response(http::Response::new(()), true)
            .expect("head");
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        request.headers().clone()
    });
    let (send, connection) = h2::client::handshake(mesh.dial()).await.expect("handshake");
    tokio::spawn(connection);
    let request = http::Request::get("http://web/")
        .header("l5d-dst-override", format!("{API}:80"))
        .body(())
        .expect("valid");
    let mut send = send.ready().await.expect("ready");
    let (response, _) = send.send_request(request, true).expect("sent");
    let response = response.await.expect("response");
    assert_eq!(response.status(), 200);
    let headers = in_time(served).await.expect("served");
    assert_eq!(headers["l5d-client-id"], CLIENT);
    assert!(!headers.contains_key("l5d-dst-override"), "{headers:?}");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_an_answer_of_the_proxy() {
    let mesh = mesh("true").await;
    for (name, status, reason) in [
        (
            "10.96.0.5:80",
            400,
            "l5d-dst-override is not a valid host:port",
        ),
        (
            "api.example.com",
            502,
            "ingress-mode routing requires discovery: api.example.com:80",
        ),
        (
            "nobody.ns.svc.cluster.local:80",
            504,
            "service in fail-fast",
        ),
    ] {
        let answer = exchange(mesh.dial(), naming(name)).await;
        let wanted = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&wanted), "{name}: {answer}");
        let wanted = format!("l5d-proxy-error: {reason}\r\n");
        assert!(answer.contains(&wanted), "{name}: {answer}");
    }
}

#[tokio::test]
async fn what_is_no_http_goes_where_its_connection_goes() {
    let mesh = mesh("true").await;
    let listener = mesh.server.netns.listen(DIALLED);
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut got = [0; 6];
        stream.read_exact(&mut got).await.expect("read");
        stream.write_all(&got).await.expect("write");
    });
    let echoed = exchange(mesh.dial(), "PING\r\n").await;
    assert_eq!(echoed, "PING\r\n");
    served.await.expect("served");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_costs_no_other_request() {
    let mesh = mesh("true").await;
    let served = serve(mesh.listen(), EMPTY);
    let mut stream = mesh.dial();
    for name in ["10.96.0.5:80", "api.example.com"] {
        let answer = ask(&mut stream, &naming(name)).await;
        assert!(answer.contains("l5d-proxy-error: "), "{answer}");
        let answer = ask(&mut stream, &naming(API)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    served.abort();
}

/// Clients choose the names, and each name costs look-ups.
#[tokio::test]
async fn clients_name_only_so_many_services() {
    let env = [
        ("INGRESS_MODE", "true"),
        ("OUTBOUND_DISCOVERY_IDLE_TIMEOUT", "5m"),
        ("LOG", "error"),
    ];
    let mesh = mesh_with(&env).await;
    let served = serve(mesh.server.netns.listen(DIALLED), EMPTY);
    let mut asked = JoinSet::new();
    let mut answered = HashMap::new();
    for number in 0..1010 {
        let name = format!("nobody-{number}.ns.svc.cluster.local");
        asked.spawn(exchange(mesh.dial(), naming(&name)));
        if asked.len() == 50 || number == 1009 {
            while let Some(answer) = asked.join_next().await {
                let status = answer.expect("answer")[..12].to_owned();
                *answered.entry(status).or_insert(0) += 1;
            }
        }
    }
    let wanted = [("HTTP/1.1 504", 1000), ("HTTP/1.1 503", 10)];
    let wanted = wanted.map(|(status, count)| (status.to_owned(), count));
    assert_eq!(answered, HashMap::from(wanted));
    let labels = ["outbound_http_errors_total{", "error=\"loadshed\""];
    assert_eq!(mesh.client.metric(&labels).await, Some(10.0));
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    served.abort();
}

#[tokio::test]
async fn a_service_that_no_request_names_is_no_longer_watched() {
    let env = [
        ("INGRESS_MODE", "true"),
        ("OUTBOUND_DISCOVERY_IDLE_TIMEOUT", "100ms"),
    ];
    let mesh = mesh_with(&env).await;
    let served = serve(mesh.listen(), EMPTY);
    mesh.watched(|watches| watches >= AT_REST).await;
    // Its connection stays open.
    let mut stream = mesh.dial();
    for _ in 0..2 {
        let answer = ask(&mut stream, &naming(API)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let watches = mesh.control.state.receiver_count();
        assert!(watches > AT_REST, "policy, profile and endpoints");
        mesh.watched(|watches| watches <= AT_REST).await;
    }
    served.abort();
}

#[tokio::test]
async fn a_service_that_still_answers_is_watched() {
    let env = [
        ("INGRESS_MODE", "true"),
        ("OUTBOUND_DISCOVERY_IDLE_TIMEOUT", "100ms"),
    ];
    let mesh = mesh_with(&env).await;
    let part = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx";
    let served = serve(mesh.listen(), part);
    mesh.watched(|watches| watches >= AT_REST).await;
    let mut stream = mesh.dial();
    let answer = ask(&mut stream, &naming(API)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let watches = mesh.control.state.receiver_count();
    assert!(watches > AT_REST, "policy, profile and endpoints");
    drop(stream);
    mesh.watched(|watches| watches <= AT_REST).await;
    served.abort();
}

#[tokio::test]
async fn in_no_other_mode_does_the_name_mean_anything() {
    let mesh = mesh("false").await;
    let dialled = serve_once(mesh.server.netns.listen(DIALLED), EMPTY);
    let answer = exchange(mesh.dial(), naming(API)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = in_time(dialled).await.expect("served");
    assert!(head.contains(&format!("l5d-dst-override: {API}")), "{head}");
}

/// The peer's proxy counts by what the client meant, where it names services, not by its `Host`.
#[tokio::test]
async fn a_peer_hears_which_service_was_meant() {
    let labels = ("INBOUND_METRICS_AUTHORITY_LABELS", "unsafe");
    let mesh = mesh_with(&[("INGRESS_MODE", "true"), labels]).await;
    let served = serve_once(mesh.listen(), EMPTY);
    let answer = exchange(mesh.dial(), naming(API)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let authority = format!("authority=\"{API}\"");
    let labels = ["request_total{direction=\"inbound\"", &authority];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
    let head = in_time(served).await.expect("served");
    assert!(!head.contains("l5d-dst-canonical"), "{head}");
}
