//! Counters of a rule's requests: by the host that they name, where that is asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Outbound;
use crate::policy::Meta;
use crate::telemetry::{Distinct, RouteRequests, Telemetry, hostname};

/// See the module.
pub(super) struct Counters {
    /// Of requests that name no host, and of all when hosts are not asked for.
    any: Rc<RouteRequests>,
    by_host: Option<ByHost>,
}

struct ByHost {
    telemetry: Telemetry,
    grpc: bool,
    parent: Arc<Meta>,
    route: Arc<Meta>,
    hosts: Arc<Distinct>,
    /// As many as `hosts` keeps apart.
    made: RefCell<HashMap<Box<str>, Rc<RouteRequests>>>,
}

// === impl Counters ===

impl Counters {
    /// Of the rule that `route` describes.
    pub(super) fn new(
        outbound: &Outbound,
        grpc: bool,
        parent: &Arc<Meta>,
        route: &Arc<Meta>,
    ) -> Self {
        let telemetry = &outbound.telemetry;
        let by_host = outbound.hosts.as_ref().map(|hosts| ByHost {
            telemetry: telemetry.clone(),
            grpc,
            parent: Arc::clone(parent),
            route: Arc::clone(route),
            hosts: Arc::clone(hosts),
            made: RefCell::default(),
        });
        Self {
            any: Rc::new(telemetry.outbound_route(grpc, parent, route, "")),
            by_host,
        }
    }

    /// Those of a request to `host`.
    pub(super) fn of(&self, host: &str) -> Rc<RouteRequests> {
        if let Some(by_host) = &self.by_host
            && let Some(name) = hostname(host)
        {
            by_host.of(&name)
        } else {
            Rc::clone(&self.any)
        }
    }
}

// === impl ByHost ===

impl ByHost {
    fn of(&self, host: &str) -> Rc<RouteRequests> {
        let mut made = self.made.borrow_mut();
        // A name that is kept apart is found without the lock.
        if let Some(known) = made.get(host) {
            return Rc::clone(known);
        }
        let shown = self.hosts.shown(host);
        let make = || {
            let (telemetry, parent) = (&self.telemetry, &self.parent);
            Rc::new(telemetry.outbound_route(self.grpc, parent, &self.route, shown))
        };
        Rc::clone(made.entry(shown.into()).or_insert_with(make))
    }
}
