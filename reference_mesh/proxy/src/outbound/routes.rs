//! A policy made ready for requests: its backends exist, its counters are at hand.
//!
//! Made anew when the policy changes. Backends that did not change are taken over, with their
//! connections and what they have learned of their endpoints.

use std::rc::Rc;
use std::sync::Arc;

use super::Outbound;
use super::backend::{Backend, Session};
use super::counters::Counters;
use crate::policy::Meta;
use crate::policy::outbound::{
    Backend as BackendPolicy, Distribution, Filter, Http, Policy, Protocol, RoutePolicy,
};
use crate::telemetry::BackendRequests;

/// A policy with its backends.
pub(super) struct Routes {
    pub(super) policy: Arc<Policy>,
    rules: Vec<Rc<Rule>>,
    tcp: Vec<TcpRoute>,
    backends: Vec<(Session, Rc<Backend>)>,
}

/// What happens to the requests of one rule.
pub(super) struct Rule {
    pub(super) policy: Arc<RoutePolicy>,
    pub(super) counters: Counters,
    pub(super) choices: Vec<Choice>,
}

/// One backend of a rule.
pub(super) struct Choice {
    pub(super) backend: Rc<Backend>,
    pub(super) filters: Vec<Filter>,
    pub(super) metrics: BackendRequests,
    weight: u32,
}

/// An opaque or TLS route.
struct TcpRoute {
    refuse: Option<Arc<str>>,
    choices: Vec<(Rc<Backend>, u32)>,
}

/// Where a connection goes.
pub(super) enum TcpChoice {
    Backend(Rc<Backend>),
    Refused(Arc<str>),
    None,
}

// === impl Routes ===

impl Routes {
    /// Makes `policy` ready, with what of `old` can be kept.
    pub(super) fn new(outbound: &Rc<Outbound>, policy: Arc<Policy>, old: Option<&Self>) -> Self {
        let mut builder = Builder {
            outbound,
            parent: Arc::clone(&policy.parent),
            old: old.map(|old| old.backends.as_slice()).unwrap_or_default(),
            backends: Vec::new(),
        };
        let (mut rules, mut tcp) = (Vec::new(), Vec::new());
        match &policy.protocol {
            Protocol::Detect {
                http1,
                http2,
                opaque,
                ..
            } => {
                builder.http(http1, false, &mut rules);
                builder.http(http2, false, &mut rules);
                builder.tcp(&opaque.routes, &mut tcp);
            }
            Protocol::Http1(http) | Protocol::Http2(http) => {
                builder.http(http, false, &mut rules);
            }
            Protocol::Grpc(http) => builder.http(http, true, &mut rules),
            Protocol::Opaque(opaque) => builder.tcp(&opaque.routes, &mut tcp),
            Protocol::Tls(tls) => builder.tcp(&tls.routes, &mut tcp),
            Protocol::Invalid(_) => {}
        }
        let backends = builder.backends;
        Self {
            policy,
            rules,
            tcp,
            backends,
        }
    }

    /// What was made ready for the rule with `policy`.
    pub(super) fn rule(&self, policy: &Arc<RoutePolicy>) -> Option<&Rc<Rule>> {
        self.rules
            .iter()
            .find(|rule| Arc::ptr_eq(&rule.policy, policy))
    }

    /// Where a connection goes; `sni` is the name that its TLS asks for.
    pub(super) fn tcp(&self, sni: Option<&str>) -> TcpChoice {
        let place = match &self.policy.protocol {
            Protocol::Tls(tls) => sni.and_then(|sni| tls.find(sni)),
            _ => Some(0),
        };
        let Some(route) = place.and_then(|place| self.tcp.get(place)) else {
            return TcpChoice::None;
        };
        if let Some(reason) = &route.refuse {
            return TcpChoice::Refused(reason.clone());
        }
        let choices = &route.choices;
        match weighted(
            choices,
            |(_, weight)| *weight,
            |(backend, _)| backend.is_available(),
        ) {
            Some((backend, _)) => TcpChoice::Backend(Rc::clone(backend)),
            None => TcpChoice::None,
        }
    }
}

// === impl Rule ===

impl Rule {
    /// The backend for one request: by weight among those that are ready, or among all when none is.
    pub(super) fn choose(&self) -> Option<&Choice> {
        let is_available = |choice: &Choice| choice.backend.is_available();
        match &self.policy.backends {
            Distribution::Empty => None,
            Distribution::FirstAvailable(_) => {
                let available = self.choices.iter().find(|choice| is_available(choice));
                available.or_else(|| self.choices.first())
            }
            Distribution::RandomAvailable(_) => {
                weighted(&self.choices, |choice| choice.weight, is_available)
            }
        }
    }
}

/// Picks by weight among the available; among all when none is.
fn weighted<T>(
    items: &[T],
    weight: impl Fn(&T) -> u32,
    is_available: impl Fn(&T) -> bool,
) -> Option<&T> {
    if let [only] = items {
        return Some(only);
    }
    let pick = |eligible: &dyn Fn(&T) -> bool| {
        let total: u64 = items
            .iter()
            .filter(|i| eligible(i))
            .map(|i| u64::from(weight(i)))
            .sum();
        let mut left = (total > 0).then(|| fastrand::u64(..total))?;
        items.iter().filter(|item| eligible(item)).find(|item| {
            let own = u64::from(weight(item));
            let found = left < own;
            left = left.saturating_sub(own);
            found
        })
    };
    pick(&|item| is_available(item)).or_else(|| pick(&|_| true))
}

/// Collects the backends of one policy.
struct Builder<'a> {
    outbound: &'a Rc<Outbound>,
    parent: Arc<Meta>,
    old: &'a [(Session, Rc<Backend>)],
    backends: Vec<(Session, Rc<Backend>)>,
}

// === impl Builder ===

impl Builder<'_> {
    fn http(&mut self, http: &Http, grpc: bool, rules: &mut Vec<Rc<Rule>>) {
        for rule in http.routes.iter().flat_map(|route| &route.rules) {
            if rules
                .iter()
                .any(|known| Arc::ptr_eq(&known.policy, &rule.policy))
            {
                continue;
            }
            rules.push(Rc::new(self.rule(&rule.policy, grpc)));
        }
    }

    fn rule(&mut self, policy: &Arc<RoutePolicy>, grpc: bool) -> Rule {
        let telemetry = self.outbound.telemetry.clone();
        let parent = Arc::clone(&self.parent);
        let mut choice = |route: &crate::policy::outbound::RouteBackend, weight| Choice {
            metrics: telemetry.outbound_backend(grpc, &parent, &policy.meta, &route.backend.meta),
            backend: self.backend(&route.backend, Session::Http),
            filters: route.filters.clone(),
            weight,
        };
        let choices = match &policy.backends {
            Distribution::Empty => Vec::new(),
            Distribution::FirstAvailable(backends) => {
                backends.iter().map(|backend| choice(backend, 1)).collect()
            }
            Distribution::RandomAvailable(backends) => backends
                .iter()
                .map(|(backend, weight)| choice(backend, *weight))
                .collect(),
        };
        Rule {
            counters: Counters::new(self.outbound, grpc, &parent, &policy.meta),
            policy: Arc::clone(policy),
            choices,
        }
    }

    fn tcp(&mut self, routes: &[crate::policy::outbound::TcpRoute], tcp: &mut Vec<TcpRoute>) {
        for route in routes {
            let mut refuse = route.refuse.clone();
            let mut choice = |backend: &crate::policy::outbound::TcpRouteBackend, weight| {
                if let Some(reason) = &backend.refuse {
                    refuse.get_or_insert_with(|| reason.clone());
                }
                (self.backend(&backend.backend, Session::Opaque), weight)
            };
            let choices = match &route.backends {
                Distribution::Empty => Vec::new(),
                Distribution::FirstAvailable(backends) => backends
                    .iter()
                    .take(1)
                    .map(|backend| choice(backend, 1))
                    .collect(),
                Distribution::RandomAvailable(backends) => backends
                    .iter()
                    .map(|(backend, weight)| choice(backend, *weight))
                    .collect(),
            };
            tcp.push(TcpRoute { refuse, choices });
        }
    }

    fn backend(&mut self, policy: &Arc<BackendPolicy>, session: Session) -> Rc<Backend> {
        let is_same = |(other_session, backend): &&(Session, Rc<Backend>)| {
            *other_session == session && *backend.policy == **policy
        };
        if let Some((_, backend)) = self.backends.iter().find(is_same) {
            return Rc::clone(backend);
        }
        let backend = match self.old.iter().find(is_same) {
            Some((_, backend)) => Rc::clone(backend),
            None => Backend::new(self.outbound, policy, &self.parent, session),
        };
        self.backends.push((session, Rc::clone(&backend)));
        backend
    }
}

#[cfg(test)]
mod tests {
    use super::weighted;

    #[test]
    fn weights_are_shares_among_the_available() {
        fastrand::seed(7);
        let items = [("a", 1_u32), ("b", 3), ("c", 96)];
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..4000 {
            let (name, _) = weighted(&items, |i| i.1, |i| i.0 != "c").expect("one");
            *counts.entry(*name).or_insert(0_u32) += 1;
        }
        // Binomial(4000, 3/4) has a standard deviation of 27: five of them.
        assert!(counts["b"].abs_diff(3000) < 140, "{counts:?}");
        assert!(!counts.contains_key("c"));
        assert!(weighted(&items, |i| i.1, |_| false).is_some());
        assert!(weighted(&items, |_| 0, |_| true).is_none());
    }
}
