//! Where the requests or connections of a route go.

use std::rc::Rc;
use std::sync::Arc;

use super::Outbound;
use super::balancer::{Acquired, Balancer};
use super::endpoint::Endpoint;
use crate::http::error::ProxyError;
use crate::policy::Meta;
use crate::policy::outbound::{Backend as Policy, Dispatcher as DispatcherPolicy};
use crate::telemetry::BalancerLabels;
use crate::transport::connect::ConnectError;

/// See the module.
pub(super) struct Backend {
    pub(super) policy: Arc<Policy>,
    dispatcher: Dispatcher,
}

enum Dispatcher {
    Forward(Rc<Endpoint>),
    Balance(Rc<Balancer>),
    Fail(Arc<str>),
}

/// What the backend carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    Http,
    Opaque,
}

// === impl Backend ===

impl Backend {
    pub(super) fn new(
        outbound: &Rc<Outbound>,
        policy: &Arc<Policy>,
        parent: &Meta,
        session: Session,
    ) -> Rc<Self> {
        let dispatcher = match &policy.dispatcher {
            DispatcherPolicy::Forward(endpoint) => {
                Dispatcher::Forward(Endpoint::new(outbound, endpoint.clone(), None, None))
            }
            DispatcherPolicy::Balance(balance) => {
                let mut queue = policy.queue;
                let labels = match session {
                    Session::Http => BalancerLabels::Http(parent, &policy.meta),
                    Session::Opaque => {
                        queue.failfast_timeout = outbound.config.outbound.tcp_failfast_timeout;
                        BalancerLabels::Opaque(parent, &policy.meta)
                    }
                };
                // As the real proxy: the capacity is this proxy's own setting.
                queue.capacity = outbound.config.outbound.direction.queue_capacity;
                let metrics = outbound.telemetry.balancer(labels, queue.failfast_timeout);
                Dispatcher::Balance(Balancer::new(outbound, balance, session, queue, metrics))
            }
            DispatcherPolicy::Fail(reason) => Dispatcher::Fail(reason.clone()),
        };
        Rc::new(Self {
            policy: Arc::clone(policy),
            dispatcher,
        })
    }

    /// Whether a request need not wait.
    pub(super) fn is_available(&self) -> bool {
        match &self.dispatcher {
            Dispatcher::Balance(balancer) => balancer.is_available(),
            Dispatcher::Forward(_) | Dispatcher::Fail(_) => true,
        }
    }

    /// Whether there is one endpoint, so that its trouble is the client's connection's.
    pub(super) fn is_forward(&self) -> bool {
        matches!(self.dispatcher, Dispatcher::Forward(_))
    }

    /// An endpoint, with a connection to it made by `connect`.
    pub(super) async fn acquire<C>(
        &self,
        connect: impl AsyncFn(&Endpoint) -> Result<C, ConnectError>,
    ) -> Result<Acquired<C>, ProxyError> {
        match &self.dispatcher {
            Dispatcher::Forward(endpoint) => {
                let pending = endpoint.load.begin();
                let connection = connect(endpoint).await?;
                Ok((Rc::clone(endpoint), pending, connection))
            }
            Dispatcher::Balance(balancer) => balancer.acquire(connect).await,
            Dispatcher::Fail(reason) => Err(ProxyError::Dispatcher(reason.clone())),
        }
    }
}
