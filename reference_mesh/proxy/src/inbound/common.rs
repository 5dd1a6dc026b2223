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
    limiters: Mutex<HashMap<u16, Arc<Limiter>>>,
}

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
            limiters: Mutex::default(),
        })
    }

    /// The rate limits of `port`. What was used up under the same limits stays used up.
    pub(super) fn limiter(&self, port: u16, policy: &Arc<RateLimit>) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock();
        match limiters.get(&port) {
            Some(limiter) if limiter.policy == *policy => Arc::clone(limiter),
            _ => {
                let limiter = Arc::new(Limiter::new(Arc::clone(policy)));
                limiters.insert(port, Arc::clone(&limiter));
                limiter
            }
        }
    }
}
