//! The pods of one component: which there are, which can be reached, which takes the next call.
//!
//! Calls go to the one of two at random that has fewer calls under way (P2C). What the proxy asks of
//! its control plane are watches that live for hours, so it is their number, not the time to a first
//! answer, that says how much a replica has to do. A replica is connected to when it is first chosen,
//! and left alone for a while when it cannot be reached. One that DNS does not name any more gets no
//! new calls; those under way go on until it ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::body::Body;

use super::backoff::Backoff;
use super::connect::Driver;
use super::dns::Resolved;
use crate::balance::pick;

/// Pauses between attempts to connect to one replica.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// See the module.
#[derive(Default)]
pub(super) struct Replicas {
    known: Vec<Replica>,
    /// When DNS is to be asked again; none is never.
    stale_at: Option<Instant>,
    /// What reads and writes the connections; each ends when its connection is left or lost.
    drivers: JoinSet<()>,
}

/// One pod.
struct Replica {
    address: SocketAddr,
    connection: Option<SendRequest<Body>>,
    /// One for this, and one for each call under way.
    calls: Arc<()>,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

/// A call under way on a replica.
#[derive(Debug)]
pub(super) struct Place {
    _calls: Arc<()>,
}

// === impl Replicas ===

impl Replicas {
    /// Whether DNS is to be asked.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.known.is_empty() || self.stale_at.is_some_and(|at| at <= now)
    }

    /// Takes over what DNS says.
    pub(super) fn update(&mut self, found: Resolved, now: Instant) {
        self.stale_at = found.ttl.map(|ttl| now + ttl);
        self.known
            .retain(|replica| found.addresses.contains(&replica.address));
        for address in found.addresses {
            if !self.known.iter().any(|known| known.address == address) {
                self.known.push(Replica::new(address));
            }
        }
    }

    /// Tries what is known for `pause` more, after a failure to learn more.
    pub(super) fn keep(&mut self, pause: Duration, now: Instant) {
        self.stale_at = Some(now + pause);
    }

    /// The number of the replica for the next call; none when all are to be left alone.
    pub(super) fn choose(&self, now: Instant) -> Option<usize> {
        let all: Vec<usize> = (0..self.known.len()).collect();
        let is_ready = |i: &usize| self.known[*i].is_ready(now);
        let cost = |i: &usize| Arc::strong_count(&self.known[*i].calls) as f64;
        pick(&all, is_ready, cost).copied()
    }

    /// When the first of those that are left alone may be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.known.iter().filter_map(|known| known.retry_at).min()
    }

    pub(super) fn address(&self, number: usize) -> SocketAddr {
        self.known[number].address
    }

    /// Whether a replica has a connection.
    pub(super) fn is_connected(&self, number: usize) -> bool {
        self.known[number].connection.is_some()
    }

    /// The open connection to a replica, with a place on it. One that was lost is forgotten, and
    /// the replica left alone for a moment: it may accept connections only to close them.
    pub(super) async fn connection(&mut self, number: usize) -> Option<(SendRequest<Body>, Place)> {
        let replica = &mut self.known[number];
        let connection = replica.connection.as_mut()?;
        if connection.ready().await.is_ok() {
            replica.backoff.reset();
            let calls = Arc::clone(&replica.calls);
            return Some((connection.clone(), Place { _calls: calls }));
        }
        replica.connection = None;
        replica.failed(Instant::now());
        None
    }

    /// Takes a new connection to a replica.
    pub(super) fn connected(&mut self, number: usize, send: SendRequest<Body>, driver: Driver) {
        while self.drivers.try_join_next().is_some() {}
        self.drivers.spawn(driver);
        let replica = &mut self.known[number];
        replica.connection = Some(send);
        replica.retry_at = None;
    }

    /// Notes that a replica was not reached; the pause until it is tried again.
    pub(super) fn failed(&mut self, number: usize, now: Instant) -> Duration {
        self.known[number].failed(now)
    }

    /// How many have a connection, and how many have none.
    pub(super) fn count(&self) -> (usize, usize) {
        let connected = self.known.iter().filter(|r| r.connection.is_some()).count();
        (connected, self.known.len() - connected)
    }
}

// === impl Replica ===

impl Replica {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
            calls: Arc::default(),
            backoff: BACKOFF,
            retry_at: None,
        }
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.connection.is_some() || self.retry_at.is_none_or(|at| at <= now)
    }

    fn failed(&mut self, now: Instant) -> Duration {
        let pause = self.backoff.advance();
        self.retry_at = Some(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Replicas};
    use crate::control::dns::Resolved;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    fn found(ports: &[u16]) -> Resolved {
        let addresses = ports
            .iter()
            .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)));
        Resolved {
            addresses: addresses.collect(),
            ttl: Some(Duration::from_secs(5)),
        }
    }

    fn call(replicas: &Replicas, number: usize) -> Place {
        Place {
            _calls: Arc::clone(&replicas.known[number].calls),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_spread_over_the_replicas() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        replicas.update(found(&[1, 2]), now);
        let mut calls = Vec::new();
        let mut counts = [0_i32; 2];
        for _ in 0..100 {
            let number = replicas.choose(now).expect("ready");
            counts[number] += 1;
            calls.push(call(&replicas, number));
        }
        assert_eq!(counts, [50, 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_reached_is_left_alone_for_a_while() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        replicas.update(found(&[1, 2]), now);
        let pause = replicas.failed(0, now);
        assert!((0..20).all(|_| replicas.choose(now) == Some(1)));
        replicas.failed(1, now);
        assert_eq!(replicas.choose(now), None);
        assert!(replicas.retry_at().is_some_and(|at| at <= now + pause * 2));
        assert!(replicas.choose(now + Duration::from_secs(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn dns_says_which_there_are() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        assert!(replicas.is_stale(now));
        replicas.update(found(&[1, 2]), now);
        assert!(!replicas.is_stale(now));
        let _call = call(&replicas, 1);
        let later = now + Duration::from_secs(5);
        assert!(replicas.is_stale(later));
        replicas.update(found(&[2, 3]), later);
        assert_eq!(replicas.count(), (0, 2));
        // The one that stays has a call already.
        assert_eq!(
            replicas.choose(later).map(|n| replicas.address(n).port()),
            Some(3)
        );
    }
}
