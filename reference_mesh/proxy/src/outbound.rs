//! Traffic that the application sends.
//!
//! A connection is accepted on the outbound port; its original destination names a [`Target`], whose
//! policy is watched. The first bytes tell HTTP from the rest, unless the policy already does. HTTP
//! is routed request by request, the rest as a whole, to a backend; a backend is one endpoint or a
//! balancer over those that discovery reports.

mod backend;
mod balancer;
mod counters;
mod endpoint;
mod http;
mod ingress;
mod observer;
mod routes;
mod target;
mod tcp;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::endpoint::{is_idempotent, prepare_h1};
use self::http::Service;
use self::ingress::Destination;
pub(crate) use self::observer::{GrpcStatus, body_error_label};
use self::target::{Kind, Slot, Target};
use crate::config::Config;
use crate::detect::{self, Detected};
use crate::discovery::{Addr, Discovery};
use crate::drain;
use crate::http::{h1, h2, in_flight};
use crate::mutants::{self, Mutant};
use crate::policy::outbound::Protocol;
use crate::telemetry::{Detect, DetectResult, Distinct, Telemetry, TransportLabels};
use crate::tls::Credentials;
use crate::transport::connect::Dialer;
use crate::transport::deal::Incoming;
use crate::transport::listen::{Accepted, Options};
use crate::transport::{Io, copy};

/// What outbound connections share on a data thread.
pub struct Outbound {
    config: Arc<Config>,
    discovery: Discovery,
    telemetry: Telemetry,
    /// What requests name, by the application's own choice, where labels say it.
    hosts: Option<Arc<Distinct>>,
    dialer: Dialer,
    targets: RefCell<HashMap<Addr, Rc<Slot>>>,
    sweeping: Cell<bool>,
    in_flight: Arc<in_flight::Limit>,
    drain: drain::Watch,
}

// === impl Outbound ===

impl Outbound {
    /// Routes by what `discovery` says, with `credentials` towards peers. `in_flight` and `hosts`, those
    /// that labels name, are the whole proxy's.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        discovery: Discovery,
        telemetry: Telemetry,
        credentials: Credentials,
        drain: drain::Watch,
        in_flight: Arc<in_flight::Limit>,
        hosts: Option<Arc<Distinct>>,
    ) -> Rc<Self> {
        let direction = &config.outbound.direction;
        let options = Options {
            keepalive: direction.connect_keepalive,
            user_timeout: direction.connect_user_timeout,
        };
        let dialer = Dialer::new(credentials, direction.connect_timeout, options);
        Rc::new(Self {
            config,
            discovery,
            telemetry,
            hosts,
            dialer,
            targets: RefCell::default(),
            sweeping: Cell::new(false),
            in_flight,
            drain,
        })
    }

    /// Serves the connections that come until the proxy drains, then waits for those under way.
    pub async fn serve(self: Rc<Self>, mut incoming: Incoming) {
        let mut drain = self.drain.clone();
        let direction = &self.config.outbound.direction;
        let options = Options {
            keepalive: direction.accept_keepalive,
            user_timeout: direction.accept_user_timeout,
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                mut accepted = incoming.accept(options) => {
                    let this = Rc::clone(&self);
                    let open = accepted.open.take();
                    connections.spawn_local(async move {
                        this.connection(accepted).await;
                        drop(open);
                    });
                }
                Some(_) = connections.join_next() => {}
                () = drain.signaled() => break,
            }
        }
        drop(incoming);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self: Rc<Self>, accepted: Accepted) {
        let Accepted {
            tcp,
            client,
            original_dst,
            ..
        } = accepted;
        if self.is_own_listener(original_dst) {
            tracing::debug!(%client, %original_dst, "Outbound connection to the proxy itself");
            self.telemetry
                .tcp_error(false, Some(original_dst), "loopback");
            return;
        }
        let labels = TransportLabels::OutboundAccept {
            target: original_dst,
        };
        let io = Io::plain(tcp).counted(self.telemetry.transport(labels).open());
        if mutants::active(Mutant::LeaksWhileRestarting) && self.dialer.generation() == 0 {
            if let Ok(tcp) = self.dialer.tcp(original_dst).await {
                let _ = copy::duplex(io, Io::plain(tcp)).await;
            }
            return;
        }
        let served = if self.config.outbound.ingress_mode {
            Box::pin(ingress::serve(Rc::clone(&self), io, client, original_dst)).await
        } else {
            let target = self.target(original_dst.into()).await;
            let served = Rc::clone(&self).serve_target(io, client, &target).await;
            target.touch();
            served
        };
        if let Err(error) = served {
            tracing::debug!(%client, %original_dst, %error, "Connection ended");
        }
        self.sweep_later();
    }

    async fn serve_target(
        self: Rc<Self>,
        io: Io,
        client: SocketAddr,
        target: &Rc<Target>,
    ) -> std::io::Result<()> {
        let (kind, io) = match self.kind(io, target).await? {
            Some(found) => found,
            None => return Ok(()),
        };
        self.telemetry
            .outbound_protocol(kind.label(), &target.parent())
            .increment();
        match kind {
            Kind::Opaque | Kind::Tls => self.serve_tcp(io, kind, target).await,
            Kind::Http1 | Kind::Http2 => {
                let destination = Destination::Fixed(Rc::clone(target));
                self.serve_http(io, client, kind, destination).await
            }
        }
    }

    // Each in a box of its own: a connection holds memory for what it speaks.

    async fn serve_tcp(
        self: &Rc<Self>,
        io: Io,
        kind: Kind,
        target: &Target,
    ) -> std::io::Result<()> {
        match kind {
            Kind::Tls => Box::pin(tcp::forward_tls(self, io, target)).await,
            _ => Box::pin(tcp::forward(self, io, target, None)).await,
        }
    }

    async fn serve_http(
        self: &Rc<Self>,
        io: Io,
        client: SocketAddr,
        kind: Kind,
        destination: Destination,
    ) -> std::io::Result<()> {
        let mut drain = self.drain.clone();
        let service = Service::new(self, destination, client, kind);
        if kind == Kind::Http2 {
            let settings = self.config.outbound.direction.h2_server;
            return Box::pin(h2::serve(io, Rc::new(service), settings, &mut drain))
                .await
                .map_err(std::io::Error::other);
        }
        let served = Box::pin(h1::serve(io, &service, &mut drain));
        served.await.map(|_| ())
    }

    /// What the connection speaks; none when it ended before that was known.
    async fn kind(&self, io: Io, target: &Target) -> std::io::Result<Option<(Kind, Io)>> {
        let policy = target.policy();
        let is_opaque = target.is_opaque() && !mutants::active(Mutant::ServerFirstStalls);
        let timeout = match &policy.protocol {
            _ if is_opaque => return Ok(Some((Kind::Opaque, io))),
            Protocol::Opaque(_) if mutants::active(Mutant::ServerFirstStalls) => {
                self.config.outbound.direction.detect_timeout
            }
            Protocol::Opaque(_) => return Ok(Some((Kind::Opaque, io))),
            Protocol::Tls(_) => return Ok(Some((Kind::Tls, io))),
            Protocol::Http1(_) => return Ok(Some((Kind::Http1, io))),
            Protocol::Http2(_) | Protocol::Grpc(_) => return Ok(Some((Kind::Http2, io))),
            Protocol::Detect { timeout, .. } => *timeout,
            Protocol::Invalid(_) => self.config.outbound.direction.detect_timeout,
        };
        let metrics = self.telemetry.outbound_detect(&policy.parent);
        let started = Instant::now();
        let found = detect::http(io, timeout).await;
        Ok(judge(found, &metrics, started)?.map(|(kind, io)| (kind.into(), io)))
    }

    fn is_own_listener(&self, addr: SocketAddr) -> bool {
        let listeners = &self.config.outbound.listen;
        listeners.iter().any(|own| {
            own.port() == addr.port() && (addr.ip().is_loopback() || own.ip() == addr.ip())
        })
    }
}

/// Counts what detection found; none when the connection ended first.
pub(crate) fn judge(
    found: std::io::Result<(Detected, Io)>,
    metrics: &Detect,
    started: Instant,
) -> std::io::Result<Option<(Option<detect::Http>, Io)>> {
    let (result, kind) = match &found {
        Ok((Detected::Http(detect::Http::Http1), _)) => {
            (DetectResult::Http1, Some(detect::Http::Http1))
        }
        Ok((Detected::Http(detect::Http::Http2), _)) => {
            (DetectResult::Http2, Some(detect::Http::Http2))
        }
        Ok((Detected::Other, _)) => (DetectResult::NotHttp, None),
        Ok((Detected::TimedOut, _)) => (DetectResult::ReadTimeout, None),
        Ok((Detected::Closed, _)) | Err(_) => (DetectResult::Error, None),
    };
    metrics.found(result, started.elapsed());
    let (detected, io) = found?;
    Ok((detected != Detected::Closed).then_some((kind, io)))
}
