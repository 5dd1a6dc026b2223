//! What one HTTP/2 stream may do to the others that share its connections.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::{Mesh, in_time, plain_state};

/// The window of each stream.
const WINDOW: usize = 65_535;

/// A short message.
const MESSAGE: usize = 28;

/// The client has read what came before the cut.
static READ: Notify = Notify::const_new();

/// What the application does with a call, by its path.
async fn answer(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (piece, pieces) = match request.uri().path() {
        "/whole" => (WINDOW, 1),
        "/messages" => (MESSAGE, WINDOW / MESSAGE),
        "/cut" => (MESSAGE, 1),
        _ => (0, 0),
    };
    let mut send = respond
        .send_response(Response::new(()), pieces == 0)
        .expect("head");
    for _ in 0..pieces {
        send.send_data(vec![b'm'; piece].into(), false)
            .expect("data");
        tokio::task::yield_now().await;
    }
    match request.uri().path() {
        "/cut" => {
            READ.notified().await;
            send.send_reset(Reason::NO_ERROR);
        }
        // Held until the client goes.
        "/whole" | "/messages" => {
            let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
        }
        _ => {}
    }
}

/// Serves connections on which so many streams may be open at a time.
fn serve(listener: TcpListener, max_streams: u32) {
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(max_streams);
            tokio::spawn(async move {
                let mut connection = builder.handshake(stream).await.expect("handshake");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
}

/// A client whose own connection limits nothing.
async fn connect(mesh: &Mesh) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 30);
    let (send, connection) = builder.handshake(mesh.dial()).await.expect("handshake");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send.ready().await.expect("ready")
}

async fn get(send: &mut SendRequest<Bytes>, path: &str) -> Result<RecvStream, h2::Error> {
    let request = Request::get(format!("http://web{path}")).body(());
    let (response, _) = send.send_request(request.expect("valid"), true)?;
    in_time(response).await.map(Response::into_body)
}

/// Opens calls that nobody reads, and waits until of each so much has come as its window holds.
async fn stall(path: &str, calls: usize, bytes: usize) {
    let mesh = Mesh::start(plain_state()).await;
    serve(mesh.listen(), 1000);
    let mut send = connect(&mesh).await;
    let mut bodies = Vec::new();
    for _ in 0..calls {
        bodies.push(get(&mut send, path).await.expect("response"));
    }
    in_time(async {
        for body in &mut bodies {
            while body.flow_control().used_capacity() < bytes {
                assert!(!body.is_end_stream(), "it was cut short");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
    drop(get(&mut send, "/").await.expect("response"));
}

#[tokio::test]
async fn readers_that_stall_stop_nobody_else() {
    stall("/whole", 20, WINDOW).await;
}

#[tokio::test]
async fn short_messages_that_wait_cost_no_connection() {
    stall("/messages", 8, WINDOW / MESSAGE * MESSAGE).await;
}

#[tokio::test]
async fn more_calls_than_the_application_takes_on_a_connection_get_another() {
    let mesh = Mesh::start(plain_state()).await;
    serve(mesh.listen(), 5);
    let mut send = connect(&mesh).await;
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(get(&mut send, "/whole").await.expect("response"));
    }
    let to_application = ["tcp_open_total{", "inbound", "peer=\"dst\""];
    assert_eq!(mesh.server.metric(&to_application).await, Some(3.0));
}

/// RFC 9113 8.1: without error an answer may be whole before its request, but not be cut short.
#[tokio::test]
async fn a_body_that_is_cut_short_without_error_is_cut_short() {
    let mesh = Mesh::start(plain_state()).await;
    serve(mesh.listen(), 1000);
    let mut send = connect(&mesh).await;
    let mut body = get(&mut send, "/cut").await.expect("response");
    let mut bytes = 0;
    let error = loop {
        match in_time(body.data()).await {
            Some(Ok(data)) => {
                bytes += data.len();
                READ.notify_one();
            }
            Some(Err(error)) => break error,
            None => panic!("it looks whole after {bytes} bytes"),
        }
    };
    assert!(error.is_reset(), "{error}");
    assert_eq!(bytes, MESSAGE);
}
