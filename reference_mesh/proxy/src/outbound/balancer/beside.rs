//! What a balancer does beside its requests: it hears of endpoints, and tries those that failed.
//!
//! Each task holds its balancer only while it works, so that one that goes out of use can go.

use std::rc::{Rc, Weak};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Balancer;
use crate::discovery::EndpointsState;
use crate::mutants::{self, Mutant};
use crate::outbound::backend::Session;
use crate::outbound::endpoint::Endpoint;

/// Follows discovery for as long as the balancer is in use.
pub(super) async fn follow(balancer: Weak<Balancer>, mut states: watch::Receiver<EndpointsState>) {
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

/// Tries an endpoint until it can be reached, or is no longer in use.
pub(super) async fn retry(balancer: Weak<Balancer>, endpoint: Weak<Endpoint>, session: Session) {
    while let Some(at) = endpoint.upgrade().and_then(|endpoint| endpoint.retry_at()) {
        sleep_until(at).await;
        let Some(endpoint) = in_use(&balancer, &endpoint) else {
            return;
        };
        // A request may have tried meanwhile.
        if endpoint.retry_at() == Some(at) {
            endpoint.probe(session).await;
        }
    }
    if let Some(endpoint) = endpoint.upgrade() {
        // This task, which ends here.
        *endpoint.retrying.borrow_mut() = None;
    }
    if let Some(balancer) = balancer.upgrade() {
        balancer.count_endpoints();
        balancer.changed.notify_waiters();
    }
}

/// The endpoint, if the balancer still sends to it.
fn in_use(balancer: &Weak<Balancer>, endpoint: &Weak<Endpoint>) -> Option<Rc<Endpoint>> {
    let (balancer, endpoint) = (balancer.upgrade()?, endpoint.upgrade()?);
    let endpoints = balancer.endpoints.borrow();
    let used = endpoints.iter().any(|used| Rc::ptr_eq(used, &endpoint));
    used.then_some(endpoint)
}

/// Tries the endpoints in the requests' place until one can be reached. While it waits it holds
/// nothing of the balancer, which may go out of use meanwhile.
pub(super) async fn probe(balancer: Weak<Balancer>, session: Session, changed: Rc<Notify>) {
    loop {
        let updated = changed.notified();
        let picked = match balancer.upgrade() {
            Some(balancer) => balancer.pick(Endpoint::is_ready_after_pause),
            None => return,
        };
        if let Some(endpoint) = picked {
            if endpoint.probe(session).await {
                break;
            }
            if let Some(balancer) = balancer.upgrade() {
                balancer.retry(&endpoint);
            }
            continue;
        }
        let retry_at = balancer
            .upgrade()
            .and_then(|balancer| balancer.next_retry());
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
pub(super) async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
