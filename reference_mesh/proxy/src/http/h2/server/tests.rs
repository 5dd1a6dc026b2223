use std::rc::Rc;
use std::time::Duration;

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
