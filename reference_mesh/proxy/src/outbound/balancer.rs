//! The endpoints of one backend, and the wait for one that can take a request.
//!
//! Fail-fast: once no endpoint could be reached for as long as requests may wait, requests fail at
//! once. A probe then goes on trying in their place, and lets them in again at its first success.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Outbound;
use super::endpoint::Endpoint;
use crate::balance::pick;
use crate::discovery::{Endpoint as Discovered, EndpointsState};
use crate::http::error::ProxyError;
use crate::http::task::Owned;
use crate::mutants::{self, Mutant};
use crate::policy::outbound::{Balance, Queue};
use crate::telemetry::{Balancer as Metrics, Update};
use crate::transport::connect::ConnectError;

/// See the module.
pub(super) struct Balancer {
    /// For making endpoints; the outbound side outlives its backends.
    outbound: Weak<Outbound>,
    balance: Balance,
    /// Where to send when discovery does not know the destination.
    original_dst: SocketAddr,
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
        queue: Queue,
        original_dst: SocketAddr,
        metrics: Metrics,
    ) -> Rc<Self> {
        let balancer = Rc::new(Self {
            outbound: Rc::downgrade(outbound),
            balance: balance.clone(),
            original_dst,
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
        let now = Instant::now();
        !self.failing_fast.get()
            && self
                .endpoints
                .borrow()
                .iter()
                .any(|endpoint| endpoint.retry_at(now).is_none())
    }

    /// An endpoint, with a connection to it made by `connect`.
    pub(super) async fn acquire<C>(
        self: &Rc<Self>,
        connect: impl AsyncFn(&Endpoint) -> Result<C, ConnectError>,
    ) -> Result<(Rc<Endpoint>, C), ProxyError> {
        if self.failing_fast.get() {
            return Err(ProxyError::FailFast);
        }
        // The common case waits for nothing, and so reads no clock twice.
        if let Some(endpoint) = self.pick()
            && let Ok(connection) = connect(&endpoint).await
        {
            return Ok((endpoint, connection));
        }
        self.wait(connect).await
    }

    async fn wait<C>(
        self: &Rc<Self>,
        connect: impl AsyncFn(&Endpoint) -> Result<C, ConnectError>,
    ) -> Result<(Rc<Endpoint>, C), ProxyError> {
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
            if let Some(endpoint) = self.pick() {
                match timeout_at(deadline, connect(&endpoint)).await {
                    Ok(Ok(connection)) => return Ok((endpoint, connection)),
                    Ok(Err(_)) => continue,
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = changed => {}
                () = reached(self.next_retry()) => {}
                () = sleep_until(deadline) => {
                    self.fail_fast();
                    return Err(ProxyError::FailFast);
                }
            }
        }
    }

    fn pick(&self) -> Option<Rc<Endpoint>> {
        let now = Instant::now();
        let endpoints = self.endpoints.borrow();
        let is_ready = |endpoint: &Rc<Endpoint>| endpoint.retry_at(now).is_none();
        pick(&endpoints, is_ready, |endpoint| endpoint.load.cost(now)).cloned()
    }

    /// When the first endpoint's pause ends.
    fn next_retry(&self) -> Option<Instant> {
        let now = Instant::now();
        self.endpoints
            .borrow()
            .iter()
            .filter_map(|endpoint| endpoint.retry_at(now))
            .min()
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
        *self.probe.borrow_mut() = Some(Owned::spawn(probe(balancer, Rc::clone(&self.changed))));
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
        let original_dst = Discovered::plain(self.original_dst);
        let known: Vec<&Discovered> = match state {
            EndpointsState::Pending => return,
            EndpointsState::Known(known) => known.values().collect(),
            EndpointsState::Empty { .. } => Vec::new(),
            EndpointsState::Rejected => vec![&original_dst],
        };
        let mut old: BTreeMap<SocketAddr, Rc<Endpoint>> = self
            .endpoints
            .take()
            .into_iter()
            .map(|endpoint| (endpoint.discovered.addr, endpoint))
            .collect();
        let had = old.len();
        let endpoints: Vec<_> = known
            .into_iter()
            .map(|discovered| match old.remove(&discovered.addr) {
                Some(endpoint) if endpoint.discovered == *discovered => endpoint,
                _ => {
                    let (authority, load) = (&self.balance.path, self.balance.load);
                    Endpoint::new(&outbound, discovered.clone(), Some(authority), Some(load))
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

    fn count_endpoints(&self) {
        let now = Instant::now();
        let endpoints = self.endpoints.borrow();
        let ready = endpoints
            .iter()
            .filter(|endpoint| endpoint.retry_at(now).is_none())
            .count();
        self.metrics.set_endpoints(ready, endpoints.len() - ready);
    }
}

/// Follows discovery for as long as the balancer is in use.
async fn follow(balancer: Weak<Balancer>, mut states: watch::Receiver<EndpointsState>) {
    loop {
        {
            let Some(balancer) = balancer.upgrade() else {
                return;
            };
            let state = states.borrow_and_update().clone();
            balancer.update(&state);
            if mutants::active(Mutant::StaleEndpoints) && !balancer.endpoints.borrow().is_empty() {
                return;
            }
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Tries the endpoints in the requests' place until one can be reached. While it waits it holds
/// nothing of the balancer, which may go out of use meanwhile.
async fn probe(balancer: Weak<Balancer>, changed: Rc<Notify>) {
    loop {
        let updated = changed.notified();
        let (endpoint, retry_at) = match balancer.upgrade() {
            Some(balancer) => (balancer.pick(), balancer.next_retry()),
            None => return,
        };
        if let Some(endpoint) = endpoint {
            if endpoint.probe().await {
                break;
            }
            continue;
        }
        tokio::select! {
            () = updated => {}
            () = reached(retry_at) => {}
        }
    }
    if let Some(balancer) = balancer.upgrade() {
        balancer.recover();
    }
}

/// Waits until `at`, for ever without one.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
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
