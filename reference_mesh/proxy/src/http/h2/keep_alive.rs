//! Pings that notice a peer that is gone.
//!
//! A connection whose peer vanished without a word looks idle: TCP notices only once something is
//! sent. Nothing is sent unasked, though, as some servers punish pings that they did not expect.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

/// When to ping, and how long to wait for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Pause between pings.
    pub interval: Duration,
    /// How long a ping may stay unanswered.
    pub timeout: Duration,
    /// Whether a connection without streams is pinged too.
    pub while_idle: bool,
}

/// Returns once a ping stays unanswered: never without settings.
pub(super) async fn unanswered(
    pings: Option<PingPong>,
    settings: Option<KeepAlive>,
    is_idle: impl Fn() -> bool,
) {
    let (Some(mut pings), Some(settings)) = (pings, settings) else {
        return std::future::pending().await;
    };
    loop {
        sleep(settings.interval).await;
        if is_idle() && !settings.while_idle {
            continue;
        }
        // A failure is the connection's, whose driver tells more of it.
        if timeout(settings.timeout, pings.ping(Ping::opaque()))
            .await
            .is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KeepAlive, unanswered};
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    const SETTINGS: KeepAlive = KeepAlive {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        while_idle: false,
    };

    /// How long it takes to notice that the peer is gone: never, or so long.
    async fn noticed(settings: Option<KeepAlive>, is_idle: bool) -> Option<Duration> {
        // The other end stays open and says nothing.
        let (own, _peer) = tokio::io::duplex(1 << 16);
        let (_send, mut connection) = h2::client::handshake(own).await.expect("preface");
        let pings = connection.ping_pong();
        let started = Instant::now();
        let noticed = async {
            tokio::select! {
                () = unanswered(pings, settings, || is_idle) => {}
                ended = connection => panic!("{ended:?}"),
            }
        };
        let noticed = timeout(Duration::from_secs(1000), noticed).await;
        noticed.ok().map(|()| started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_answer_is_gone() {
        let after = SETTINGS.interval + SETTINGS.timeout;
        assert_eq!(noticed(Some(SETTINGS), false).await, Some(after));
        let always = KeepAlive {
            while_idle: true,
            ..SETTINGS
        };
        assert_eq!(noticed(Some(always), true).await, Some(after));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_unasked() {
        assert_eq!(noticed(None, false).await, None);
        assert_eq!(noticed(Some(SETTINGS), true).await, None);
    }
}
