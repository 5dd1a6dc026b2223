//! Requests per second that a port lets in: of all clients, and of each.
//!
//! The generic cell rate algorithm: a bucket is one point in time, the theoretical arrival of the
//! next request at the permitted rate. A second's worth may come at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::identity::Id;
use crate::policy::inbound::RateLimit;

/// Clients that are told apart. What comes after starts anew, at worst with a second's worth more.
const MAX_CLIENTS: usize = 4096;

/// The limits of one port.
pub(super) struct Limiter {
    pub(super) policy: Arc<RateLimit>,
    /// Data threads share them, as a client may have a connection on each. Ports without limits have
    /// no limiter, and take no lock.
    buckets: Mutex<Buckets>,
}

struct Buckets {
    total: Option<Bucket>,
    overrides: Vec<Bucket>,
    /// By identity; clients without one share a bucket.
    clients: HashMap<Option<Id>, Bucket>,
}

/// See the module.
struct Bucket {
    interval: Duration,
    tolerance: Duration,
    next: Instant,
}

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(policy: Arc<RateLimit>) -> Self {
        let now = Instant::now();
        let overrides = policy.overrides.iter();
        let buckets = Buckets {
            total: policy.total_rps.map(|rps| Bucket::new(rps, now)),
            overrides: overrides.map(|(_, rps)| Bucket::new(*rps, now)).collect(),
            clients: HashMap::new(),
        };
        Self {
            policy,
            buckets: Mutex::new(buckets),
        }
    }

    /// Takes one request of `client`.
    ///
    /// # Errors
    /// The limit that is used up: `total`, `override` or `identity`.
    pub(super) fn take(&self, client: Option<&Id>, now: Instant) -> Result<(), &'static str> {
        let mut buckets = self.buckets.lock();
        if buckets.total.as_mut().is_some_and(|total| !total.take(now)) {
            return Err("total");
        }
        let own = |(ids, _): &(Vec<Id>, u32)| client.is_some_and(|id| ids.contains(id));
        if let Some(index) = self.policy.overrides.iter().position(own) {
            return if buckets.overrides[index].take(now) {
                Ok(())
            } else {
                Err("override")
            };
        }
        let Some(rps) = self.policy.identity_rps else {
            return Ok(());
        };
        if buckets.clients.len() >= MAX_CLIENTS {
            buckets.clients.clear();
        }
        let clients = buckets.clients.entry(client.cloned());
        if clients.or_insert_with(|| Bucket::new(rps, now)).take(now) {
            Ok(())
        } else {
            Err("identity")
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(rps: u32, now: Instant) -> Self {
        // A rate of none is never reached.
        let interval = Duration::from_secs(1)
            .checked_div(rps)
            .unwrap_or(Duration::MAX);
        let tolerance = interval.saturating_mul(rps.saturating_sub(1));
        Self {
            interval,
            tolerance,
            next: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.interval == Duration::MAX || self.next > now + self.tolerance {
            return false;
        }
        self.next = self.next.max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Limiter;
    use crate::identity::Id;
    use crate::policy::Meta;
    use crate::policy::inbound::RateLimit;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    fn allowed(limiter: &Limiter, client: Option<&Id>, now: Instant) -> usize {
        (0..100)
            .filter(|_| limiter.take(client, now).is_ok())
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn each_client_has_its_second_and_all_have_theirs() {
        let id = |name: &str| Id::parse(name).expect("valid");
        let (a, b, c) = (id("a.ns"), id("b.ns"), id("c.ns"));
        let limiter = Limiter::new(Arc::new(RateLimit {
            meta: Meta::default_named("limit"),
            total_rps: Some(40),
            identity_rps: Some(10),
            overrides: vec![(vec![b.clone()], 20)],
        }));
        let now = Instant::now();
        // A refused request of one client still counts for all: 40 of them are taken in.
        assert_eq!(allowed(&limiter, Some(&a), now), 10);
        let later = now + Duration::from_secs(1);
        assert_eq!(allowed(&limiter, Some(&b), later), 20);
        assert_eq!(limiter.take(Some(&c), later), Err("total"));
        let much_later = later + Duration::from_secs(1);
        assert_eq!(limiter.take(None, much_later), Ok(()));
    }
}
