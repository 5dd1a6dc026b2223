//! One endpoint: its connections, its load, and whether it can be reached.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ::http::{Method, Request, Response, Version, uri::Authority};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Outbound;
use super::backend::Session;
use crate::balance::Load;
use crate::config::Backoff;
use crate::discovery::{Endpoint as Discovered, ProtocolHint};
use crate::http::error::ProxyError;
use crate::http::task::Owned;
use crate::http::{Body, Interim, Tunnel, h1, h2, headers, orig_proto};
use crate::mutants::{self, Mutant};
use crate::policy::outbound::Load as LoadPolicy;
use crate::telemetry::{Counter, EndpointLabels, Requests, Transport, TransportLabels};
use crate::tls::{NoOutboundTls, OutboundTls};
use crate::transport::Io;
use crate::transport::connect::{ConnectError, Dialer};
use crate::transport::header;

/// Latency that is assumed of a lone endpoint, which nothing compares it with.
const LONE: LoadPolicy = LoadPolicy {
    default_rtt: Duration::from_millis(30),
    decay: Duration::from_secs(10),
    penalty: None,
};

/// See the module.
pub(super) struct Endpoint {
    /// As discovery announced it.
    pub(super) discovered: Discovered,
    /// How it is reached: as announced, unless it is in this pod.
    dialled: Discovered,
    pub(super) load: Rc<Load>,
    /// Counters of the requests to it.
    pub(super) requests: Requests,
    transport: Transport,
    cost: (Counter, Counter),
    dialer: Dialer,
    settings: h2::Settings,
    backoff: Backoff,
    failures: Cell<u32>,
    retry_at: Cell<Option<Instant>>,
    /// Tries to reach it again, while that fails.
    pub(super) retrying: RefCell<Option<Owned>>,
    shared: RefCell<Generation<h2::Clients>>,
    /// Held while a shared connection is made, so that it is made once.
    connecting: Mutex<()>,
    pool: RefCell<Generation<Rc<h1::Pool>>>,
    pool_limits: (usize, Duration),
}

/// Something made with the certificate of one generation.
struct Generation<T> {
    number: u64,
    value: T,
}

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carriage {
    /// On a shared HTTP/2 connection.
    Shared,
    /// On an HTTP/1 connection from the pool.
    Pooled,
    /// On an HTTP/1 connection of its own, which may become a tunnel.
    Own,
}

/// A connection that can take a request.
pub(super) enum Connection {
    Shared(h2::Client),
    Pooled(h1::Client, Rc<h1::Pool>),
}

/// What came of sending a request.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what requests make"
)]
pub(super) enum Sent {
    Answered(Response<Body>, Option<Tunnel>),
    /// The connection had ended before it took the request.
    Unsent(Box<Request<Body>>),
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(
        outbound: &Outbound,
        discovered: Discovered,
        authority: Option<&str>,
        load: Option<LoadPolicy>,
    ) -> Rc<Self> {
        let is_own = outbound
            .config
            .inbound
            .own_ips
            .contains(&discovered.addr.ip());
        let dialled = if is_own {
            discovered.within_pod()
        } else {
            discovered.clone()
        };
        let tls = match &dialled.meta.tls {
            Some(tls) => OutboundTls::Established {
                server_id: tls.id.clone(),
            },
            None if is_own => OutboundTls::None(NoOutboundTls::Loopback),
            None => OutboundTls::None(NoOutboundTls::NotProvidedByServiceDiscovery),
        };
        let labels = EndpointLabels {
            authority,
            target: discovered.addr,
            tls: &tls,
            labels: &discovered.meta.labels,
        };
        let load = load.unwrap_or(LONE);
        let direction = &outbound.config.outbound.direction;
        let pool_limits = (direction.max_idle_per_endpoint, direction.pool_idle);
        Rc::new(Self {
            load: Load::new(load.default_rtt, load.decay),
            requests: outbound.telemetry.outbound_requests(labels),
            transport: outbound
                .telemetry
                .transport(TransportLabels::OutboundConnect(labels)),
            cost: outbound.telemetry.transfer_cost(&discovered.meta.labels),
            dialer: outbound.dialer.clone(),
            settings: discovered.meta.http2.over(outbound.config.h2),
            backoff: direction.connect_backoff,
            failures: Cell::new(0),
            retry_at: Cell::new(None),
            retrying: RefCell::new(None),
            shared: RefCell::new(Generation {
                number: 0,
                value: h2::Clients::default(),
            }),
            connecting: Mutex::new(()),
            pool: RefCell::new(Generation {
                number: 0,
                value: h1::Pool::new(pool_limits.0, pool_limits.1),
            }),
            pool_limits,
            discovered,
            dialled,
        })
    }

    /// Whether requests may go to it: it has a connection for one, or nothing speaks against making
    /// one.
    pub(super) fn is_ready(&self) -> bool {
        self.failures.get() == 0 || self.current_shared().is_some() || self.pool().has_open()
    }

    /// As [`Self::is_ready`], for a request that may need a connection of its own: that is made
    /// after pauses.
    pub(super) fn is_ready_after_pause(&self) -> bool {
        self.is_ready() && self.retry_at().is_none_or(|at| at <= Instant::now())
    }

    /// When to try again to reach it; none when the last attempt succeeded.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.get()
    }

    /// How `request` travels to this endpoint.
    pub(super) fn carriage<B>(&self, request: &Request<B>) -> Carriage {
        if h1::is_upgrade(request) {
            return Carriage::Own;
        }
        let upgrades = self.dialled.meta.protocol_hint == ProtocolHint::H2
            && !mutants::active(Mutant::AlpnDowngrade);
        if upgrades || request.version() == Version::HTTP_2 {
            Carriage::Shared
        } else {
            Carriage::Pooled
        }
    }

    /// A connection for a request, made if there is none.
    pub(super) async fn connection(&self, carriage: Carriage) -> Result<Connection, ConnectError> {
        match carriage {
            Carriage::Shared => self.shared().await.map(Connection::Shared),
            Carriage::Pooled => {
                let pool = self.pool();
                match pool.take() {
                    Some(client) => Ok(Connection::Pooled(client, pool)),
                    None => self.own(pool).await,
                }
            }
            Carriage::Own => self.own(self.pool()).await,
        }
    }

    async fn own(&self, pool: Rc<h1::Pool>) -> Result<Connection, ConnectError> {
        let io = self
            .dial(Some(header::Kind::Http1(header::Empty {})))
            .await?;
        Ok(Connection::Pooled(h1::Client::new(io), pool))
    }

    /// A shared connection with room for a request, of those that show the current certificate. One
    /// that shows an older one ends by itself when its last stream does.
    fn current_shared(&self) -> Option<h2::Client> {
        let shared = self.shared.borrow();
        (shared.number == self.dialer.generation())
            .then(|| shared.value.take())
            .flatten()
    }

    async fn shared(&self) -> Result<h2::Client, ConnectError> {
        if let Some(client) = self.current_shared() {
            return Ok(client);
        }
        let failures = self.failures.get();
        let _connecting = self.connecting.lock().await;
        if let Some(client) = self.current_shared() {
            return Ok(client);
        }
        if self.failures.get() > failures {
            return Err(io::Error::other("another request has just failed to connect").into());
        }
        let number = self.dialer.generation();
        let io = self
            .dial(Some(header::Kind::Http2(header::Empty {})))
            .await?;
        let value = h2::Client::handshake(io, self.settings).await?;
        let mut shared = self.shared.borrow_mut();
        if shared.number != number {
            *shared = Generation {
                number,
                value: h2::Clients::default(),
            };
        }
        shared.value.add(value.clone());
        Ok(value)
    }

    /// Whether it can be reached now. A connection that can carry requests is kept for them.
    pub(super) async fn probe(&self, session: Session) -> bool {
        let reached = match session {
            Session::Opaque => self.dial(None).await.is_ok(),
            Session::Http if self.dialled.meta.protocol_hint == ProtocolHint::H2 => {
                self.shared().await.is_ok()
            }
            Session::Http => {
                let connection = self.own(self.pool()).await;
                let reached = connection.is_ok();
                if let Ok(Connection::Pooled(client, pool)) = connection {
                    pool.put(client);
                }
                reached
            }
        };
        if reached {
            self.reached();
        }
        reached
    }

    fn reached(&self) {
        self.failures.set(0);
        self.retry_at.set(None);
    }

    fn pool(&self) -> Rc<h1::Pool> {
        let number = self.dialer.generation();
        let mut pool = self.pool.borrow_mut();
        if pool.number != number {
            let value = h1::Pool::new(self.pool_limits.0, self.pool_limits.1);
            *pool = Generation { number, value };
        }
        Rc::clone(&pool.value)
    }

    /// Reaches the endpoint for a session of `kind`; notes whether that can be done.
    pub(super) async fn dial(&self, kind: Option<header::Kind>) -> Result<Io, ConnectError> {
        let kind = match self.dialled.meta.protocol_hint {
            ProtocolHint::Opaque => None,
            ProtocolHint::H2 | ProtocolHint::Unknown => kind,
        };
        // Requests that fail together are one failure, or a burst would take the pause to its end.
        let failures = self.failures.get().saturating_add(1);
        match self.dialer.endpoint(&self.dialled, kind).await {
            Ok(io) => {
                self.reached();
                Ok(io.counted(self.transport.open()).costing(self.cost.clone()))
            }
            Err(error) => {
                self.failures.set(failures.max(self.failures.get()));
                self.retry_at
                    .set(Some(Instant::now() + self.backoff.after(failures)));
                tracing::warn!(
                    endpoint = %self.discovered.addr,
                    %error,
                    "Failed to connect"
                );
                Err(error)
            }
        }
    }

    /// Whether the identity that a request requires is this endpoint's.
    pub(super) fn satisfies(&self, required: &str) -> bool {
        self.dialled
            .meta
            .tls
            .as_ref()
            .is_some_and(|tls| tls.id.as_str() == required)
    }

    /// Sends `request` on `connection` in the form that it takes.
    pub(super) async fn send(
        &self,
        connection: Connection,
        mut request: Request<Body>,
        authority: Authority,
        interim: &Interim,
    ) -> Result<Sent, ProxyError> {
        let (authority, own) = match self.dialled.meta.authority_override.clone() {
            Some(name) => (name, Some(authority)),
            None => (authority, None),
        };
        match connection {
            Connection::Shared(client) => {
                let is_h1 = request.version() != Version::HTTP_2;
                if !is_h1 {
                    headers::strip_hop_by_hop(request.headers_mut());
                    orig_proto::to_h2(&mut request, authority);
                } else if !request.headers().contains_key(headers::ORIG_PROTO) {
                    orig_proto::upgrade(&mut request, authority);
                }
                match client.send(request, interim).await {
                    Ok(response) => Ok(Sent::Answered(response, None)),
                    Err(h2::SendError::Unsent(mut request)) => {
                        // The next endpoint may have no proxy, and has another name.
                        if let Some(authority) = own {
                            orig_proto::to_h2(&mut request, authority);
                        }
                        if is_h1 {
                            orig_proto::downgrade(&mut request);
                        }
                        Ok(Sent::Unsent(request))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Connection::Pooled(client, pool) => {
                prepare_h1(&mut request);
                match client.send(request, interim, &pool).await {
                    Ok((response, tunnel)) => Ok(Sent::Answered(response, tunnel)),
                    Err(h1::SendError::Unanswered(request)) if is_idempotent(&request) => {
                        Ok(Sent::Unsent(request))
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

/// Gives a request the form that HTTP/1 sends, without what belongs to the client's connection.
pub(crate) fn prepare_h1(request: &mut Request<Body>) {
    if request.version() == Version::HTTP_2 {
        headers::strip_hop_by_hop(request.headers_mut());
        orig_proto::to_h1(request, orig_proto::OrigProto::HTTP_11);
    } else if h1::is_upgrade(request) && !mutants::active(Mutant::UpgradeBroken) {
        headers::strip_hop_by_hop_but_upgrade(request.headers_mut());
    } else {
        headers::strip_hop_by_hop(request.headers_mut());
    }
}

/// Whether sending twice does what sending once does (RFC 9110 9.2.2).
pub(crate) fn is_idempotent(request: &Request<Body>) -> bool {
    matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
