//! The endpoints of one backend, and the wait for one that can take a request.
//!
//! An endpoint that could not be reached is tried again in the background, after pauses; requests
//! never wait for what has just failed while they could go elsewhere.
//!
//! Fail-fast: once no endpoint could be reached for as long as requests may wait, requests fail at
//! once. A probe then goes on trying in their place, and lets them in again at its first success.

mod beside;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::beside::{follow, probe, reached, retry};
use super::Outbound;
use super::backend::Session;
use super::endpoint::Endpoint;
use crate::balance::{Pending, latency_of_newcomer, pick};
use crate::discovery::{Endpoint as Discovered, EndpointsState};
use crate::http::error::ProxyError;
use crate::http::task::Owned;
use crate::policy::outbound::{Balance, Load, Queue};
use crate::telemetry::{Balancer as Metrics, Update};
use crate::transport::connect::ConnectError;

/// An endpoint, the request under way to it, and a connection for the request.
pub(super) type Acquired<C> = (Rc<Endpoint>, Pending, C);

/// See the module.
pub(super) struct Balancer {
    /// For making endpoints; the outbound side outlives its backends.
    outbound: Weak<Outbound>,
    balance: Balance,
    session: Session,
    queue: Queue,
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    waiting: Cell<usize>,
    failing_fast: Cell<bool>,
    probe: RefCell<Option<Owned>>,
    updates: RefCell<Option<Owned>>,
    changed: Rc<Notify>,
    metrics: Metrics,
}

// === impl Balancer ===

impl Balancer {
    pub(super) fn new(
        outbound: &Rc<Outbound>,
        balance: &Balance,
        session: Session,
        queue: Queue,
        metrics: Metrics,
    ) -> Rc<Self> {
        let balancer = Rc::new(Self {
            outbound: Rc::downgrade(outbound),
            balance: balance.clone(),
            session,
            queue,
            endpoints: RefCell::default(),
            waiting: Cell::new(0),
            failing_fast: Cell::new(false),
            probe: RefCell::default(),
            updates: RefCell::default(),
            changed: Rc::new(Notify::new()),
            metrics,
        });
        let states = outbound.discovery.endpoints(&balance.path);
        let updates = Owned::spawn(follow(Rc::downgrade(&balancer), states));
        *balancer.updates.borrow_mut() = Some(updates);
        balancer
    }

    /// Whether a request need not wait.
    pub(super) fn is_available(&self) -> bool {
        let endpoints = self.endpoints.borrow();
        !self.failing_fast.get() && endpoints.iter().any(|endpoint| endpoint.is_ready())
    }

    /// An endpoint, with a connection to it made by `connect`.
    pub(super) async fn acquire<C>(
        self: &Rc<Self>,
        connect: impl AsyncFn(&Endpoint) -> Result<C, ConnectError>,
    ) -> Result<Acquired<C>, ProxyError> {
        if self.failing_fast.get() {
            return Err(ProxyError::FailFast);
        }
        // The common case waits for nothing, and so reads no clock twice.
        if let Some(endpoint) = self.pick(Endpoint::is_ready)
            && let Ok(acquired) = self.reach(endpoint, &connect).await
        {
            return Ok(acquired);
        }
        self.wait(connect).await
    }

    async fn reach<C>(
        self: &Rc<Self>,
        endpoint: Rc<Endpoint>,
        connect: &impl AsyncFn(&Endpoint) -> Result<C, ConnectError>,
    ) -> Result<Acquired<C>, ConnectError> {
        // Who waits for a connection is load, too: else all would pick what never answers.
        let mut pending = endpoint.load.begin();
        match connect(&endpoint).await {
            Ok(connection) => Ok((endpoint, pending, connection)),
            Err(error) => {
                // It is left alone until it can be reached, and then as fast as it was before.
                pending.unmeasured();
                self.retry(&endpoint);
                Err(error)
            }
        }
    }

    async fn wait<C>(
        self: &Rc<Self>,
        connect: impl AsyncFn(&Endpoint) -> Result<C, ConnectError>,
    ) -> Result<Acquired<C>, ProxyError> {
        if self.waiting.get() >= self.queue.capacity {
            return Err(ProxyError::LoadShed);
        }
        let _waiting = Waiting::enter(self);
        let deadline = Instant::now() + self.queue.failfast_timeout;
        loop {
            if self.failing_fast.get() {
                return Err(ProxyError::FailFast);
            }
            let changed = self.changed.notified();
            if let Some(endpoint) = self.pick(Endpoint::is_ready_after_pause) {
                match timeout_at(deadline, self.reach(endpoint, &connect)).await {
                    Ok(Ok(acquired)) => return Ok(acquired),
                    Ok(Err(_)) => continue,
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = changed => {}
                () = reached(self.next_retry()) => {}
                () = sleep_until(deadline) => {
                    // With an endpoint for others, the trouble is this request's alone.
                    if !self.is_available() {
                        self.fail_fast();
                    }
                    return Err(ProxyError::FailFast);
                }
            }
        }
    }

    fn pick(&self, is_ready: impl Fn(&Endpoint) -> bool) -> Option<Rc<Endpoint>> {
        let now = Instant::now();
        let endpoints = self.endpoints.borrow();
        let cost = |endpoint: &Rc<Endpoint>| endpoint.load.cost(now);
        pick(&endpoints, |endpoint| is_ready(endpoint), cost).cloned()
    }

    /// When the first endpoint's pause ends.
    fn next_retry(&self) -> Option<Instant> {
        let now = Instant::now();
        self.endpoints
            .borrow()
            .iter()
            .filter_map(|endpoint| endpoint.retry_at())
            .filter(|at| *at > now)
            .min()
    }

    /// Goes on trying an endpoint that was not reached, in the requests' place.
    fn retry(self: &Rc<Self>, endpoint: &Rc<Endpoint>) {
        let mut retrying = endpoint.retrying.borrow_mut();
        if retrying.is_none() && endpoint.retry_at().is_some() {
            let (balancer, endpoint) = (Rc::downgrade(self), Rc::downgrade(endpoint));
            *retrying = Some(Owned::spawn(retry(balancer, endpoint, self.session)));
        }
        self.count_endpoints();
    }

    fn fail_fast(self: &Rc<Self>) {
        if self.failing_fast.replace(true) {
            return;
        }
        tracing::warn!(destination = %self.balance.path, "Service entering failfast");
        self.metrics.set_open(false);
        self.count_endpoints();
        self.changed.notify_waiters();
        let balancer = Rc::downgrade(self);
        let probe = probe(balancer, self.session, Rc::clone(&self.changed));
        *self.probe.borrow_mut() = Some(Owned::spawn(probe));
    }

    fn recover(&self) {
        if self.failing_fast.replace(false) {
            tracing::info!(destination = %self.balance.path, "Service has recovered");
            self.metrics.set_open(true);
            self.count_endpoints();
        }
    }

    fn update(&self, state: &EndpointsState) {
        let Some(outbound) = self.outbound.upgrade() else {
            return;
        };
        let known: Vec<&Discovered> = match state {
            EndpointsState::Pending => return,
            EndpointsState::Known(known) => known.values().collect(),
            EndpointsState::Empty { .. } => Vec::new(),
        };
        let mut old: BTreeMap<SocketAddr, Rc<Endpoint>> = self
            .endpoints
            .take()
            .into_iter()
            .map(|endpoint| (endpoint.discovered.addr, endpoint))
            .collect();
        let had = old.len();
        let load = self.load_of_newcomer(old.values());
        let endpoints: Vec<_> = known
            .into_iter()
            .map(|discovered| match old.remove(&discovered.addr) {
                Some(endpoint) if endpoint.discovered == *discovered => endpoint,
                _ => {
                    let authority = Some(&*self.balance.path);
                    Endpoint::new(&outbound, discovered.clone(), authority, Some(load))
                }
            })
            .collect();
        self.metrics.updated(match (state, old.is_empty()) {
            (EndpointsState::Empty { exists: false }, _) => Update::DoesNotExist,
            (_, false) => Update::Remove,
            (_, true) if had == 0 => Update::Reset,
            (_, true) => Update::Add,
        });
        *self.endpoints.borrow_mut() = endpoints;
        self.count_endpoints();
        if !self.failing_fast.get() {
            self.metrics.set_open(self.is_available());
        }
        self.changed.notify_waiters();
    }

    /// What is assumed of an endpoint that joins these, of those that can be reached if any can.
    fn load_of_newcomer<'a>(&self, known: impl Iterator<Item = &'a Rc<Endpoint>> + Clone) -> Load {
        let Load { default_rtt, .. } = self.balance.load;
        let any = known.clone().any(|endpoint| endpoint.is_ready());
        let loads = known
            .filter(|endpoint| !any || endpoint.is_ready())
            .map(|endpoint| &*endpoint.load);
        Load {
            default_rtt: latency_of_newcomer(loads, default_rtt, Instant::now()),
            ..self.balance.load
        }
    }

    fn count_endpoints(&self) {
        let endpoints = self.endpoints.borrow();
        let ready = endpoints.iter().filter(|endpoint| endpoint.is_ready());
        let ready = ready.count();
        self.metrics.set_endpoints(ready, endpoints.len() - ready);
    }
}

/// Counts a request as waiting.
struct Waiting<'a> {
    balancer: &'a Balancer,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn enter(balancer: &'a Balancer) -> Self {
        balancer.waiting.set(balancer.waiting.get() + 1);
        balancer.metrics.queue_requests.increment();
        balancer.metrics.queue_length.add(1);
        Self {
            balancer,
            since: Instant::now(),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.balancer.waiting.set(self.balancer.waiting.get() - 1);
        self.balancer.metrics.queue_length.add(-1);
        self.balancer
            .metrics
            .queue_latency
            .observe(self.since.elapsed());
    }
}
