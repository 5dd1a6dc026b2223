//! Following a stream of the control plane: for ever, through failures.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Response, Status, Streaming};

use super::watches::Feed;
use crate::config::ControlStreams;
use crate::control::{Backoff, Client};
use crate::mutants::{self, Mutant};

/// Pauses between two attempts to open a stream while the control plane does not answer. No longer
/// than those between two connections: what it has to say after an outage is waited for.
const OUTAGE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// Pauses while it answers that it has nothing to say, as it may for ever: of the policy of each pod
/// that is called by its own address, for one.
const REFUSAL: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
/// Share of a stream's allowed life that is taken off at random, so that proxies that started
/// together do not come back together.
const LIFETIME_JITTER: f64 = 0.1;

/// A stream that is opened again whenever it ends.
pub(super) struct Follower {
    client: Client,
    limits: ControlStreams,
    outage: Backoff,
    refusal: Backoff,
}

// === impl Follower ===

impl Follower {
    pub(super) fn new(client: &Client, limits: ControlStreams) -> Self {
        Self {
            client: client.clone(),
            limits,
            outage: OUTAGE,
            refusal: REFUSAL,
        }
    }

    /// Hands each message to `message`, until the server answers with a failure. Call it again
    /// after [`Self::pause_after`].
    ///
    /// Streams that end cleanly or outlive their limits are opened again. `message` is told whether
    /// it is the first of its stream: that one replaces what was known before.
    pub(super) async fn run<M, V, F>(
        &mut self,
        feed: &Feed<V>,
        open: impl Fn() -> F,
        mut message: impl FnMut(M, bool),
    ) -> Status
    where
        F: Future<Output = Result<Response<Streaming<M>>, Status>>,
    {
        loop {
            feed.heard(false);
            // The wait for a connection is not the server's time to answer.
            self.client.ready().await;
            let mut first = true;
            let ended = read(self.limits, open(), |value| {
                feed.heard(true);
                message(value, first);
                first = false;
            });
            let ended = ended.await;
            feed.heard(false);
            if !first {
                self.outage.reset();
                self.refusal.reset();
            }
            match ended {
                Ended::Lifetime => {}
                Ended::Cleanly if mutants::active(Mutant::ForgetsEndpoints) => {
                    return Status::unavailable("the stream ended");
                }
                Ended::Cleanly | Ended::Silent => sleep(self.outage.advance()).await,
                Ended::Failed(status) => {
                    feed.heard(is_refusal(&status));
                    return status;
                }
            }
        }
    }

    /// Waits, longer after each failure in a row.
    pub(super) async fn pause_after(&mut self, failure: &Status) {
        let backoff = if is_refusal(failure) {
            &mut self.refusal
        } else {
            &mut self.outage
        };
        sleep(backoff.advance()).await;
    }
}

/// Whether the control plane has answered: that it has nothing to say, or not to this question.
pub(super) fn is_refusal(status: &Status) -> bool {
    is_final(status) || matches!(status.code(), Code::NotFound | Code::Unimplemented)
}

/// Whether asking again would get the same answer.
pub(super) fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::FailedPrecondition
    )
}

/// How a stream ended.
enum Ended {
    Cleanly,
    Failed(Status),
    /// No message in time.
    Silent,
    /// As old as it may become.
    Lifetime,
}

async fn read<M>(
    limits: ControlStreams,
    open: impl Future<Output = Result<Response<Streaming<M>>, Status>>,
    mut message: impl FnMut(M),
) -> Ended {
    let started = Instant::now();
    let after = |limit: Option<Duration>| {
        // Far enough to be never, near enough not to overflow.
        Instant::now() + limit.unwrap_or(Duration::from_secs(86_400 * 365))
    };
    let life = limits
        .lifetime
        .map(|life| life.mul_f64(1.0 - LIFETIME_JITTER * fastrand::f64()));
    let end_of_life = life.map(|life| started + life);
    let mut silent_at = after(limits.initial);
    let mut stream = match timeout_at(silent_at, open).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Ended::Failed(status),
        Err(_) => return Ended::Silent,
    };
    loop {
        let until = end_of_life.map_or(silent_at, |end| end.min(silent_at));
        match timeout_at(until, stream.message()).await {
            Ok(Ok(Some(value))) => message(value),
            Ok(Ok(None)) => return Ended::Cleanly,
            Ok(Err(status)) => return Ended::Failed(status),
            Err(_) if end_of_life.is_some_and(|end| end <= Instant::now()) => {
                return Ended::Lifetime;
            }
            Err(_) => return Ended::Silent,
        }
        silent_at = after(limits.idle);
    }
}

#[cfg(test)]
mod tests {
    use super::OUTAGE;
    use std::time::Duration;

    /// The sidecar of a control plane that starts takes connections before its application does, and
    /// answers for it: each such answer is a failure.
    #[test]
    fn news_after_a_long_outage_waits_two_seconds_at_most() {
        let mut backoff = OUTAGE.clone();
        let longest = (0..50).map(|_| backoff.advance()).max();
        assert!(longest <= Some(Duration::from_millis(2200)), "{longest:?}");
    }
}
