use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use ::http::Request;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::Instant;

use super::{PREFACE_LIMIT, serve};
use crate::drain;
use crate::http::h2::Settings;
use crate::http::test_service::{Quiet, connection};
use crate::transport::Io;

/// How long a client that stops in the middle of its preface is served.
async fn stalled(io: Io, drain: &mut drain::Watch) -> Duration {
    let io = io.with_prefix("PRI * HTTP/2.0\r\n".into());
    let started = Instant::now();
    let served = serve(io, Rc::new(Quiet::default()), Settings::default(), drain).await;
    served.expect("ended");
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_its_preface_is_left() {
    // Both are there before any timer is, as a paused clock waits for no socket.
    let (_first, first) = connection().await;
    let (_second, second) = connection().await;
    let (trigger, mut watch) = drain::channel();
    assert_eq!(stalled(first, &mut watch).await, PREFACE_LIMIT);
    let drained = tokio::spawn(trigger.drain(Duration::from_secs(60)));
    watch.signaled().await;
    assert_eq!(stalled(second, &mut watch).await, Duration::ZERO);
    drop(watch);
    assert!(drained.await.expect("joined"));
}

#[tokio::test]
async fn a_reply_that_closes_lets_streams_under_way_end() {
    let (client, io) = connection().await;
    let service = Rc::new(Quiet {
        closes: true,
        ..Quiet::default()
    });
    let serving = Rc::clone(&service);
    let test = async move {
        let (_trigger, mut watch) = drain::channel();
        let settings = Settings::default();
        let served = spawn_local(async move { serve(io, serving, settings, &mut watch).await });
        let (mut send, connection) = h2::client::handshake(client).await.expect("handshake");
        let connection = spawn_local(connection);
        let get = |path: &str| Request::get(format!("http://a{path}")).body(());
        let (held, _) = send
            .send_request(get("/held").expect("valid"), true)
            .expect("sent");
        let (other, _) = send
            .send_request(get("/").expect("valid"), true)
            .expect("sent");
        other.await.expect("answered");
        while poll_fn(|cx| send.poll_ready(cx)).await.is_ok() {
            yield_now().await;
        }
        assert!(!served.is_finished() && !connection.is_finished());
        service.held.notify_one();
        held.await.expect("answered");
        served.await.expect("joined").expect("in good order");
        connection.await.expect("joined").expect("in good order");
    };
    LocalSet::new().run_until(test).await;
}
