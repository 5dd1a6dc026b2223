//! What holds for all inbound connections, whichever data thread they are on.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Limiter;
use crate::config::Config;
use crate::http::in_flight;
use crate::policy::inbound::RateLimit;
use crate::telemetry::Distinct;

/// Shared by the data threads.
pub struct Common {
    pub(super) in_flight: Arc<in_flight::Limit>,
    /// What foreign TLS asks for, by clients' own choice.
    pub(super) server_names: Distinct,
    /// What transport headers name, by peers' own choice.
    pub(super) header_names: Distinct,
    pub(super) header_ports: Distinct,
    /// What requests are for, by clients' own choice, where labels say it.
    pub(super) authorities: Option<Distinct>,
    pub(super) limiters: Limiters,
}

/// By port, the newest last.
#[derive(Default)]
pub(super) struct Limiters(Mutex<HashMap<u16, Vec<Arc<Limiter>>>>);

/// Limiters of a port that are remembered: a thread may still ask by the policy before the last one,
/// and must not make those anew that another thread has.
const REMEMBERED: usize = 2;

// === impl Common ===

impl Common {
    /// For one proxy.
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            in_flight: in_flight::Limit::new(config.inbound.direction.max_in_flight),
            server_names: Distinct::default(),
            header_names: Distinct::default(),
            header_ports: Distinct::default(),
            authorities: config.inbound.authority_labels.then(Distinct::default),
            limiters: Limiters::default(),
        })
    }
}

// === impl Limiters ===

impl Limiters {
    /// The rate limits of `port`. Connections share them, and what was used up stays used up while
    /// the rest of the port's policy changes.
    pub(super) fn of(&self, port: u16, policy: &Arc<RateLimit>) -> Arc<Limiter> {
        let mut limiters = self.0.lock();
        let of_port = limiters.entry(port).or_default();
        if let Some(known) = of_port.iter().find(|known| known.policy == *policy) {
            return Arc::clone(known);
        }
        let limiter = Arc::new(Limiter::new(Arc::clone(policy)));
        if of_port.len() == REMEMBERED {
            of_port.remove(0);
        }
        of_port.push(Arc::clone(&limiter));
        limiter
    }
}

#[cfg(test)]
mod tests {
    use super::Limiters;
    use crate::policy::Meta;
    use crate::policy::inbound::RateLimit;
    use std::sync::Arc;

    fn limit(rps: u32) -> Arc<RateLimit> {
        Arc::new(RateLimit {
            meta: Meta::default_named("limit"),
            total_rps: Some(rps),
            identity_rps: None,
            overrides: Vec::new(),
        })
    }

    #[test]
    fn a_thread_that_is_behind_makes_no_limit_anew() {
        let limiters = Limiters::default();
        let (old, new) = (limit(1), limit(2));
        let first = limiters.of(80, &old);
        let one = limiters.of(80, &new);
        assert!(Arc::ptr_eq(&first, &limiters.of(80, &old)));
        assert!(Arc::ptr_eq(&one, &limiters.of(80, &limit(2))));
        let another = limiters.of(81, &new);
        assert!(!Arc::ptr_eq(&one, &another), "of each port its own");
        limiters.of(80, &limit(3));
        assert!(Arc::ptr_eq(&one, &limiters.of(80, &new)));
        assert!(!Arc::ptr_eq(&first, &limiters.of(80, &old)), "forgotten");
    }
}
