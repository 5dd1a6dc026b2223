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
use tokio::time::sleep;
use tonic::body::Body;
use tower_service::Service;

use super::backoff::Backoff;
use super::connect::{ConnectError, Connection, Target};
use super::counted::{Call, CountedBody};
use super::dns::Resolver;
use crate::config::ControlAddr;
use crate::telemetry::{Balancer, BalancerLabels, ControlClient, Telemetry, Update};
use crate::tls::Credentials;

/// Pauses between attempts to connect.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// What Linkerd reports as the time after which calls without a connection fail.
const FAILFAST: Duration = Duration::from_secs(10);

/// Calls one component of the control plane. Cheap to clone; clones share the connection.
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
    connection: Option<Connection>,
    backoff: Backoff,
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
                connection: None,
                backoff: BACKOFF,
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
        let mut send = inner.connected().await;
        let call = Call::start(&inner.calls);
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
    /// A handle of the connection; waits until there is one.
    async fn connected(&self) -> SendRequest<Body> {
        let mut guard = self.state.lock().await;
        let state = &mut *guard;
        loop {
            if let Some(connection) = &mut state.connection {
                if connection.send.ready().await.is_ok() {
                    state.backoff.reset();
                    return connection.send.clone();
                }
                self.balancer.set_open(false);
                self.balancer.set_endpoints(0, 1);
                state.connection = None;
                // Also the pause of a peer that accepts connections only to close them.
                sleep(state.backoff.advance()).await;
            }
            match self.connect().await {
                Ok((connection, addresses)) => {
                    self.balancer.updated(Update::Reset);
                    self.balancer.set_endpoints(1, addresses - 1);
                    self.balancer.set_open(true);
                    state.connection = Some(connection);
                }
                Err(error) => {
                    let pause = state.backoff.advance();
                    tracing::warn!(component = self.component, %error, ?pause, "control plane unreachable");
                    sleep(pause).await;
                }
            }
        }
    }

    async fn connect(&self) -> Result<(Connection, usize), ConnectError> {
        // The others authorize us by our certificate; identity is what gives us one.
        if self.target.tls.is_some() && self.component != "identity" {
            self.credentials.ready().await;
        }
        self.target
            .connect(self.component, &self.resolver, &self.credentials)
            .await
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
