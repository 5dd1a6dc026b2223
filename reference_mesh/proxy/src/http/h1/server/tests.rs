use std::time::Duration;

use ::http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::{Closed, serve};
use crate::drain;
use crate::http::task::Owned;
use crate::http::test_service::{Quiet, Unobserved, connection};
use crate::http::{Body, Interim, Reply, Service};
use crate::transport::Io;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Before its body of five bytes.
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";

/// What the client gets of a proxy that drains before it looks at the connection.
async fn served_at_drain(mut client: TcpStream, io: Io) -> String {
    let (trigger, mut watch) = drain::channel();
    let drained = tokio::spawn(trigger.drain(Duration::from_secs(60)));
    watch.signaled().await;
    let service = Quiet::default();
    let closed = serve(io, &service, &mut watch).await.expect("served");
    assert_eq!(closed, Closed::Normally);
    drop(watch);
    assert!(drained.await.expect("joined"));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("read");
    answer
}

#[tokio::test]
async fn a_request_that_came_before_the_drain_is_answered() {
    // Read by detection, or still in the socket.
    let (client, io) = connection().await;
    let detected = served_at_drain(client, io.with_prefix(REQUEST.into())).await;
    let (mut client, io) = connection().await;
    client.write_all(REQUEST).await.expect("write");
    let unread = served_at_drain(client, io).await;
    for answer in [detected, unread] {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_without_a_request_ends_with_the_drain() {
    let (client, io) = connection().await;
    assert_eq!(served_at_drain(client, io).await, "");
}

/// Reads bodies in a task, as it is done for HTTP/2, and never answers.
struct Silent;

impl Service for Silent {
    type Observer = Unobserved;

    async fn call(&self, request: Request<Body>, _: &Interim) -> Reply<Unobserved> {
        let mut body = request.into_body();
        let _upload = Owned::spawn(async move { while body.frame().await.is_some() {} });
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_client_that_goes_after_its_upload_is_noticed() {
    let (mut client, io) = connection().await;
    let (_trigger, mut watch) = drain::channel();
    client.write_all(POST).await.expect("write");
    client.write_all(b"hello").await.expect("write");
    drop(client);
    let served = LocalSet::new()
        .run_until(timeout(
            Duration::from_secs(5),
            serve(io, &Silent, &mut watch),
        ))
        .await;
    let closed = served.expect("noticed").expect("served");
    assert_eq!(closed, Closed::Normally);
}

#[tokio::test]
async fn an_answer_before_the_body_says_that_the_connection_closes() {
    let (mut client, io) = connection().await;
    let (_trigger, mut watch) = drain::channel();
    client.write_all(POST).await.expect("write");
    let service = Quiet::default();
    let seen = async {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        answer
    };
    let (closed, answer) = tokio::join!(serve(io, &service, &mut watch), seen);
    assert_eq!(closed.expect("served"), Closed::Normally);
    assert!(answer.contains("connection: close"), "{answer}");
}
