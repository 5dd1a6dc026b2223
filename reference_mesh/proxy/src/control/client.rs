//! A client of one control-plane component, as tonic's generated clients want it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::client::conn::http2::SendRequest;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::body::Body;
use tower_service::Service;

use super::backoff::Backoff;
use super::connect::{ConnectError, Target};
use super::counted::{Call, CountedBody};
use super::dns::{ResolveError, Resolved, Resolver};
use super::replicas::{Place, Replicas};
use crate::config::ControlAddr;
use crate::telemetry::{Balancer, BalancerLabels, ControlClient, Telemetry, Update};
use crate::tls::Credentials;

/// Pauses between look-ups that fail.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// What Linkerd reports as the time after which calls without a connection fail.
const FAILFAST: Duration = Duration::from_secs(10);

/// Calls one component of the control plane. Cheap to clone; clones share the connections.
///
/// A call waits until there is a connection, however long that takes; bound it where that matters.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    component: &'static str,
    target: Target,
    authority: Authority,
    resolver: Arc<Resolver>,
    credentials: Credentials,
    calls: ControlClient,
    balancer: Balancer,
    /// Held while connecting, so that there is one attempt at a time.
    state: Mutex<State>,
}

struct State {
    replicas: Replicas,
    /// Pauses between look-ups that fail.
    backoff: Backoff,
    /// The look-up beside the calls, if one is under way.
    lookup: JoinSet<()>,
}

/// A call that did not come to a response.
#[derive(Debug, Error)]
pub enum CallError {
    /// The connection broke.
    #[error("control-plane call failed: {0}")]
    Http(#[from] hyper::Error),
}

// === impl Client ===

impl Client {
    /// A client of `component` (`identity`, `destination` or `policy`) at `addr`.
    ///
    /// # Errors
    /// When `addr` is not loopback and has no usable name.
    pub fn new(
        component: &'static str,
        addr: &ControlAddr,
        credentials: Credentials,
        resolver: Arc<Resolver>,
        telemetry: &Telemetry,
    ) -> Result<Self, ConnectError> {
        let target = Target::new(addr)?;
        let text = format!("{}:{}", addr.host, addr.port);
        let authority = Authority::try_from(text.clone());
        let authority = authority.map_err(|_| ConnectError::Name(text.clone()))?;
        Ok(Self(Arc::new(Inner {
            component,
            calls: telemetry.control_client(&text, &target.tls_label()),
            balancer: telemetry.balancer(BalancerLabels::Control(component, &text), FAILFAST),
            target,
            authority,
            resolver,
            credentials,
            state: Mutex::new(State {
                replicas: Replicas::default(),
                backoff: BACKOFF,
                lookup: JoinSet::new(),
            }),
        })))
    }

    /// Returns once there is a connection.
    pub async fn ready(&self) {
        self.0.connected().await;
    }

    async fn send(self, request: Request<Body>) -> Result<Response<CountedBody>, CallError> {
        let inner = &self.0;
        inner.balancer.queue_requests.increment();
        let request = inner.with_origin(request);
        let (mut send, place) = inner.connected().await;
        let call = Call::start(&inner.calls, place);
        match send.send_request(request).await {
            Ok(response) => Ok(CountedBody::wrap(response, call)),
            Err(error) => {
                call.failed("i/o");
                Err(error.into())
            }
        }
    }
}

impl Service<Request<Body>> for Client {
    type Response = Response<CountedBody>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

// === impl Inner ===

impl Inner {
    /// A connection to a replica, and a place on it; waits until there is one.
    async fn connected(self: &Arc<Self>) -> (SendRequest<Body>, Place) {
        let mut guard = self.state.lock().await;
        let state = &mut *guard;
        loop {
            self.refresh(state).await;
            let Some(number) = state.replicas.choose(Instant::now()) else {
                self.report(&state.replicas);
                let retry_at = state.replicas.retry_at();
                sleep_until(retry_at.unwrap_or_else(Instant::now)).await;
                // They may have moved.
                state.replicas.keep(Duration::ZERO, Instant::now());
                continue;
            };
            if !state.replicas.is_connected(number) {
                self.connect(&mut state.replicas, number).await;
            }
            if let Some(found) = state.replicas.connection(number).await {
                return found;
            }
        }
    }

    /// Asks DNS anew when its last answer has expired: beside the calls while they have a
    /// connection to go on.
    async fn refresh(self: &Arc<Self>, state: &mut State) {
        while state.replicas.is_stale(Instant::now()) {
            while state.lookup.try_join_next().is_some() {}
            let (connected, _) = state.replicas.count();
            if connected > 0 {
                if state.lookup.is_empty() {
                    let inner = Arc::clone(self);
                    state.lookup.spawn(async move {
                        let found = inner.look_up().await;
                        inner.learned(&mut *inner.state.lock().await, found);
                    });
                }
                return;
            }
            let found = self.look_up().await;
            if let Some(pause) = self.learned(state, found) {
                sleep(pause).await;
                return;
            }
        }
    }

    async fn look_up(&self) -> Result<Resolved, ResolveError> {
        let Target { host, port, .. } = &self.target;
        self.resolver.resolve(self.component, host, *port).await
    }

    /// Takes over what DNS said; the pause until it is asked again, if it said nothing.
    fn learned(
        &self,
        state: &mut State,
        found: Result<Resolved, ResolveError>,
    ) -> Option<Duration> {
        match found {
            Ok(found) => {
                state.backoff.reset();
                state.replicas.update(found, Instant::now());
                self.balancer.updated(Update::Reset);
                self.report(&state.replicas);
                None
            }
            Err(error) => {
                let pause = state.backoff.advance();
                tracing::warn!(component = self.component, %error, ?pause, "control plane unreachable");
                state.replicas.keep(pause, Instant::now());
                Some(pause)
            }
        }
    }

    async fn connect(&self, replicas: &mut Replicas, number: usize) {
        // The others authorize us by our certificate; identity is what gives us one.
        if self.target.tls.is_some() && self.component != "identity" {
            self.credentials.ready().await;
        }
        let address = replicas.address(number);
        match self.target.connect(address, &self.credentials).await {
            Ok((send, driver)) => replicas.connected(number, send, driver),
            Err(error) => {
                let pause = replicas.failed(number, Instant::now());
                tracing::warn!(component = self.component, %error, ?pause, "control plane unreachable");
            }
        }
        self.report(replicas);
    }

    fn report(&self, replicas: &Replicas) {
        let (connected, not) = replicas.count();
        self.balancer.set_endpoints(connected, not);
        self.balancer.set_open(connected > 0);
    }

    /// tonic writes only the path.
    fn with_origin(&self, request: Request<Body>) -> Request<Body> {
        let (mut head, body) = request.into_parts();
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query
            .get_or_insert(PathAndQuery::from_static("/"));
        // All three parts are there, which is all that is asked.
        head.uri = Uri::from_parts(uri).unwrap_or_default();
        Request::from_parts(head, body)
    }
}
