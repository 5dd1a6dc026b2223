//! HTTP/2 and gRPC from end to end, by prior knowledge.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::control::{endpoints, server, to_balancer, to_endpoint};
use crate::{CLIENT, Mesh, SERVER, app, in_time, plain_state, serve_once};

const ORIG_PROTO: &str = "l5d-orig-proto";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that sets nothing.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The kind of a frame.
const HEADERS: u8 = 1;

/// How an application leaves a call.
#[derive(Clone, Copy)]
enum Leaves {
    Resets(Reason),
    Dies,
}

async fn connect(mesh: &Mesh) -> h2::client::SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(mesh.dial()).await.expect("handshake");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send.ready().await.expect("ready")
}

fn grpc() -> Request<()> {
    Request::post("http://web/svc/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("valid")
}

/// Serves one connection, whose requests are echoed with trailers.
async fn echo(stream: TcpStream) -> Vec<HeaderMap> {
    let mut connection = h2::server::handshake(stream).await.expect("handshake");
    let mut heads = Vec::new();
    while let Some(accepted) = connection.accept().await {
        let Ok((request, mut respond)) = accepted else {
            break;
        };
        heads.push(request.headers().clone());
        tokio::spawn(async move {
            let mut body = request.into_body();
            if body.is_end_stream() {
                respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let mut send = respond
                .send_response(Response::new(()), false)
                .expect("head");
            while let Some(data) = body.data().await {
                let Ok(data) = data else { return };
                let _ = body.flow_control().release_capacity(data.len());
                send.send_data(data, false).expect("data");
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", 0.into());
            send.send_trailers(trailers).expect("trailers");
        });
    }
    heads
}

#[tokio::test]
async fn grpc_streams_both_ways_and_ends_with_trailers() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let served =
        tokio::spawn(async move { echo(listener.accept().await.expect("accept").0).await });
    let mut send = connect(&mesh).await;
    let (response, mut body) = send.send_request(grpc(), false).expect("send");
    body.send_data("one".into(), false).expect("data");
    let mut answer = response.await.expect("response").into_body();
    assert_eq!(answer.data().await.expect("data").expect("data"), "one");
    body.send_data("two".into(), true).expect("data");
    assert_eq!(answer.data().await.expect("data").expect("data"), "two");
    assert!(answer.data().await.is_none());
    let trailers = answer.trailers().await.expect("trailers").expect("some");
    assert_eq!(trailers["grpc-status"], "0");

    let labels = [
        "response_total{",
        "outbound",
        "grpc_status=\"0\"",
        "classification=\"success\"",
    ];
    assert_eq!(mesh.client.metric(&labels).await, Some(1.0));
    drop((send, body, answer, mesh));
    let heads = served.await.expect("served");
    assert_eq!(heads[0]["l5d-client-id"], CLIENT);
    assert_eq!(heads[0]["te"], "trailers");
}

#[tokio::test]
async fn a_reset_stays_a_reset() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    tokio::spawn(async move { echo(listener.accept().await.expect("accept").0).await });
    let mut send = connect(&mesh).await;
    let (response, _) = send.send_request(grpc(), true).expect("send");
    let error = response.await.expect_err("reset");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "{error}");
}

/// Takes one call and the first of its data, and leaves the rest.
async fn leave(stream: TcpStream, how: Leaves) {
    let mut connection = h2::server::handshake(stream).await.expect("handshake");
    let accepted = connection.accept().await.expect("a call");
    let (request, mut respond) = accepted.expect("a call");
    let mut body = request.into_body();
    tokio::select! {
        data = body.data() => drop(data.expect("data").expect("data")),
        _ = connection.accept() => panic!("one call, whose body does not end"),
    }
    if let Leaves::Resets(reason) = how {
        respond.send_reset(reason);
        while connection.accept().await.is_some() {}
    }
}

/// What a client hears of a call that the application leaves while it still sends.
async fn left(how: Leaves) -> Result<Response<h2::RecvStream>, h2::Error> {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let app = async move { leave(listener.accept().await.expect("accept").0, how).await };
    let app = tokio::spawn(app);
    let mut send = connect(&mesh).await;
    let (response, mut body) = send.send_request(grpc(), false).expect("send");
    body.send_data("one".into(), false).expect("data");
    let heard = in_time(response).await;
    app.abort();
    heard
}

#[tokio::test]
async fn a_reset_of_an_upload_stays_a_reset() {
    let error = left(Leaves::Resets(Reason::ENHANCE_YOUR_CALM)).await;
    let error = error.expect_err("reset");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error}");
}

#[tokio::test]
async fn an_application_that_dies_during_an_upload_is_unavailable() {
    let response = left(Leaves::Dies).await.expect("response");
    assert_eq!(response.headers()["grpc-status"], "14", "{response:?}");
}

/// RFC 9113 6.8 and 8.7: its client may send it again.
#[tokio::test]
async fn a_call_that_the_application_never_looked_at_is_refused() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let app = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await.expect("preface");
        stream.write_all(&SETTINGS).await.expect("write");
        while read_frame(&mut stream).await.0 != HEADERS {}
        // GOAWAY, without error; none of the streams was looked at.
        let goaway = [&[0, 0, 8, 7, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
        stream.write_all(&goaway).await.expect("write");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let mut send = connect(&mesh).await;
    let (response, _body) = send.send_request(grpc(), false).expect("send");
    let error = in_time(response).await.expect_err("refused");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "{error}");
    app.abort();
}

#[tokio::test]
async fn a_client_that_cancels_is_counted_as_that() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    tokio::spawn(async move { echo(listener.accept().await.expect("accept").0).await });
    let mut send = connect(&mesh).await;
    let (response, mut body) = send.send_request(grpc(), false).expect("send");
    let _answer = response.await.expect("response");
    body.send_reset(Reason::CANCEL);
    let labels = ["route_request_statuses_total{", "error=\"CANCEL\""];
    in_time(async { while mesh.client.metric(&labels).await.is_none() {} }).await;
}

/// It must look for another pod: by its name, and so on another connection.
#[tokio::test]
async fn a_client_of_a_pod_that_is_gone_loses_its_connection() {
    let mut state = plain_state();
    state.outbound = to_endpoint(app(), SERVER);
    let mesh = Mesh::start(state).await;
    // Nothing listens there.
    let (send, connection) = h2::client::handshake(mesh.dial()).await.expect("handshake");
    let connection = tokio::spawn(connection);
    let mut send = send.ready().await.expect("ready");
    let (response, _) = send.send_request(grpc(), true).expect("send");
    let response = in_time(response).await.expect("response");
    assert_eq!(response.headers()["grpc-status"], "14", "{response:?}");
    // The client keeps its handle, and would go on sending.
    let ended = in_time(connection).await.expect("joined");
    ended.expect("in good order");
    assert!(send.ready().await.is_err());
}

/// The connection between the proxies carries others' requests, too.
#[tokio::test]
async fn an_application_that_is_down_costs_no_connection_between_proxies() {
    let mesh = Mesh::start(plain_state()).await;
    for _ in 0..5 {
        let mut send = connect(&mesh).await;
        let (response, _) = send.send_request(grpc(), true).expect("send");
        let response = in_time(response).await.expect("response");
        assert_eq!(response.headers()["grpc-status"], "14", "{response:?}");
    }
    let between = ["tcp_open_total{", "outbound", "peer=\"dst\""];
    assert_eq!(mesh.client.metric(&between).await, Some(1.0));
}

#[tokio::test]
async fn grpc_clients_are_told_of_denial_in_their_way() {
    let mut state = plain_state();
    state.server = server(Some("nobody"), false);
    let mesh = Mesh::start(state).await;
    let mut send = connect(&mesh).await;
    let (response, _) = send.send_request(grpc(), true).expect("send");
    let response = response.await.expect("response");
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["grpc-status"]
        ),
        (200, &7.into())
    );
}

/// Anybody may say that a request carries one of HTTP/1; it is judged as if it had come as that.
#[tokio::test]
async fn a_carried_request_is_read_in_one_way_only() {
    let mut state = plain_state();
    state.outbound = to_balancer(true);
    state.endpoints = endpoints(&[app()], None);
    let mesh = Mesh::start(state).await;
    let old = Request::post("http://web/a").header(ORIG_PROTO, "HTTP/1.0");
    let web = || Request::post("http://web/a").header("host", "other");
    let twice = web().header("host", "web").header(ORIG_PROTO, "HTTP/1.1");
    let twice = twice
        .header("content-length", "3")
        .header("content-length", "3");
    let absolute = web().header(ORIG_PROTO, "HTTP/1.1; absolute-form");
    for (request, start, framing) in [
        (
            old,
            "POST /a HTTP/1.1\r\n",
            "transfer-encoding: chunked\r\n",
        ),
        (twice, "POST /a HTTP/1.1\r\n", "content-length: 3\r\n"),
        (
            absolute,
            "POST http://web/a HTTP/1.1\r\n",
            "transfer-encoding: chunked\r\n",
        ),
    ] {
        let served = serve_once(mesh.listen(), "");
        let mut send = connect(&mesh).await;
        let request = request.body(()).expect("valid");
        let (_response, mut body) = send.send_request(request, false).expect("send");
        body.send_data("abc".into(), true).expect("data");
        let head = in_time(served).await.expect("served");
        assert!(head.starts_with(start), "{head}");
        for once in [framing, "\r\nhost: web\r\n"] {
            assert_eq!(head.matches(once).count(), 1, "{head}");
        }
        assert_eq!(head.matches("host: ").count(), 1, "{head}");
    }
    // Nothing listens: a request that got through would be answered with 502.
    let nameless = Request::get("/")
        .header("host", "web")
        .header("host", "other");
    let nameless = nameless
        .header(ORIG_PROTO, "HTTP/1.1")
        .body(())
        .expect("valid");
    let mut send = connect(&mesh).await;
    let (response, _) = send.send_request(nameless, true).expect("send");
    let response = in_time(response).await.expect("response");
    assert_eq!(response.status(), 400, "{response:?}");
}

/// RFC 9113 8.3.1: malformed, and not a request for `/`.
#[tokio::test]
async fn a_request_without_path_is_reset() {
    const RST_STREAM: u8 = 3;
    let mesh = Mesh::start(plain_state()).await;
    // Nothing listens there: a request that got through would be answered with 502.
    let mut stream = mesh.dial();
    // END_HEADERS and END_STREAM; of HPACK's static table: GET, http.
    let headers = [0, 0, 2, HEADERS, 5, 0, 0, 0, 1, 0x82, 0x86];
    let sent = [PREFACE, &SETTINGS, &headers].concat();
    stream.write_all(&sent).await.expect("write");
    loop {
        let (kind, id, payload) = in_time(read_frame(&mut stream)).await;
        assert_ne!(kind, HEADERS, "it was answered");
        if kind == RST_STREAM {
            let reason = u32::from(Reason::PROTOCOL_ERROR).to_be_bytes();
            assert_eq!((id, &payload[..]), (1, &reason[..]));
            return;
        }
    }
}

/// Kind, stream (of the first few) and payload of the next frame.
async fn read_frame(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.expect("frame");
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).await.expect("payload");
    (head[3], head[8], payload)
}
