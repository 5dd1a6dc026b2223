//! What a policy asks for and this version of the proxy does not do.

use std::collections::BTreeSet;

use super::outbound::{Dispatcher, Distribution, FailureAccrual, Http, Policy, Protocol, Timeouts};

/// The parts of `policy` that are read and not acted on, by name. Whoever set them should be told.
#[must_use]
pub fn unenforced(policy: &Policy) -> BTreeSet<&'static str> {
    let mut parts = BTreeSet::new();
    match &policy.protocol {
        Protocol::Detect { http1, http2, .. } => {
            of_http(http1, &mut parts);
            of_http(http2, &mut parts);
        }
        Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http) => {
            of_http(http, &mut parts);
        }
        Protocol::Opaque(_) | Protocol::Tls(_) | Protocol::Invalid(_) => {}
    }
    parts
}

fn of_http(http: &Http, parts: &mut BTreeSet<&'static str>) {
    if http.accrual != FailureAccrual::None {
        parts.insert("failure accrual");
    }
    for rule in http.routes.iter().flat_map(|route| &route.rules) {
        if rule.policy.timeouts != Timeouts::default() {
            parts.insert("timeouts");
        }
        if rule.policy.retry.is_some() {
            parts.insert("retries");
        }
        let backends: Vec<_> = match &rule.policy.backends {
            Distribution::Empty => Vec::new(),
            Distribution::FirstAvailable(backends) => backends.iter().collect(),
            Distribution::RandomAvailable(backends) => {
                backends.iter().map(|(backend, _)| backend).collect()
            }
        };
        let has_penalty = |dispatcher: &Dispatcher| matches!(dispatcher, Dispatcher::Balance(balance) if balance.load.penalty.is_some());
        if backends
            .iter()
            .any(|backend| has_penalty(&backend.backend.dispatcher))
        {
            parts.insert("load penalty");
        }
    }
}
