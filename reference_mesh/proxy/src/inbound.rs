//! Traffic for the application.
//!
//! A connection arrives either at the application's port, redirected here, or at the proxy's own
//! port from a peer's proxy, which says in a transport header where it is meant to go (`direct`).
//! Mesh TLS is terminated if it is for this workload's name; then the policy of the port says how the
//! bytes are read and who may send them. HTTP is judged request by request, the rest as a whole and
//! again whenever the policy changes.

mod app;
mod authority;
mod common;
mod direct;
mod http;
mod limit;
mod session;
mod tcp;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::app::App;
pub use self::common::Common;
use self::limit::Limiter;
use self::session::{Announced, Session};
use crate::config::Config;
use crate::detect::{self, Tls};
use crate::discovery::{Discovery, NoServerPolicy};
use crate::drain;
use crate::mutants::{self, Mutant};
use crate::policy::inbound::{Protocol, ServerPolicy};
use crate::telemetry::{AccessLog, Telemetry};
use crate::tls::{self, Credentials, InboundTls, NoInboundTls};
use crate::transport::connect::Dialer;
use crate::transport::deal::Incoming;
use crate::transport::listen::{Accepted, Options};
use crate::transport::{Io, Rewind};

/// Applications whose connections are kept when no client uses them. A pod has few ports.
const MAX_IDLE_APPS: usize = 64;

/// Longest wait at the start for the policies of known ports.
const FIRST_POLICY: Duration = Duration::from_secs(1);

/// What inbound connections share on a data thread.
pub struct Inbound {
    config: Arc<Config>,
    discovery: Discovery,
    telemetry: Telemetry,
    access_log: Option<AccessLog>,
    common: Arc<Common>,
    credentials: Credentials,
    dialer: Dialer,
    apps: RefCell<HashMap<SocketAddr, Rc<App>>>,
    drain: drain::Watch,
}

// === impl Inbound ===

impl Inbound {
    /// Admits by what `discovery` says; `credentials` terminate mesh TLS.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        discovery: Discovery,
        telemetry: Telemetry,
        access_log: Option<AccessLog>,
        credentials: Credentials,
        drain: drain::Watch,
        common: Arc<Common>,
    ) -> Rc<Self> {
        let direction = &config.inbound.direction;
        let options = Options {
            keepalive: direction.connect_keepalive,
            user_timeout: direction.connect_user_timeout,
        };
        let dialer = Dialer::new(credentials.clone(), direction.connect_timeout, options);
        Rc::new(Self {
            config,
            discovery,
            telemetry,
            access_log,
            common,
            credentials,
            dialer,
            apps: RefCell::default(),
            drain,
        })
    }

    /// Serves the connections that come until the proxy drains, then waits for those under way.
    pub async fn serve(self: Rc<Self>, mut incoming: Incoming) {
        let mut drain = self.drain.clone();
        let direction = &self.config.inbound.direction;
        let options = Options {
            keepalive: direction.accept_keepalive,
            user_timeout: direction.accept_user_timeout,
        };
        let known = self.watch_known_ports().await;
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
        drop(known);
    }

    /// Watches the ports that are known for as long as the proxy runs, and gives the controller a
    /// moment to say what holds for them, so that no client is judged by the default policy only
    /// because it came first.
    async fn watch_known_ports(&self) -> Vec<watch::Receiver<Arc<ServerPolicy>>> {
        let ports = self.config.inbound.ports.iter();
        let mut known: Vec<_> = ports.map(|port| self.discovery.inbound(*port)).collect();
        let heard = async {
            for policy in &mut known {
                // The sender lives as long as the receiver is in use.
                let _ = policy.changed().await;
            }
        };
        let _ = timeout(FIRST_POLICY, heard).await;
        known
    }

    async fn connection(self: Rc<Self>, accepted: Accepted) {
        let (client, target) = (accepted.client, accepted.original_dst);
        let result = if target.port() == self.config.inbound.listen.port() {
            Rc::clone(&self).direct(accepted).await
        } else {
            Rc::clone(&self).redirected(accepted).await
        };
        if let Err(error) = result {
            tracing::debug!(%client, %target, %error, "Connection ended");
        }
    }

    /// A connection to a port of the application.
    async fn redirected(self: Rc<Self>, accepted: Accepted) -> io::Result<()> {
        let Accepted {
            tcp,
            client,
            original_dst,
            ..
        } = accepted;
        if !self.is_own(original_dst) {
            return self.refuse(original_dst, "unexpected", "destination is not this pod");
        }
        let port = original_dst.port();
        let session = |tls, policy| Session {
            client,
            target: original_dst,
            tls,
            policy: RefCell::new(policy),
        };
        let early = match self.is_named(port) {
            true => Some(self.policy_of(port).await?),
            false => None,
        };
        if let Some(policy) = &early
            && matches!(policy.borrow().protocol, Protocol::Opaque)
            && !mutants::active(Mutant::ServerFirstStalls)
        {
            let session = session(InboundTls::None(NoInboundTls::PortSkipped), policy.clone());
            return self
                .serve_session(Io::plain(tcp), session, Announced::Opaque)
                .await;
        }
        let (hello, tcp) = detect::tls(tcp, self.config.inbound.direction.detect_timeout).await?;
        let policy = match early {
            Some(policy) => policy,
            None if hello == Tls::Closed => return Ok(()),
            None => self.policy_of(port).await?,
        };
        match hello {
            // If its server speaks first, that is now looked up, and known to the next client.
            Tls::TimedOut => self.refuse(
                original_dst,
                "tls detection timeout",
                "no bytes from the client",
            ),
            Tls::Hello(Some(name)) if self.is_own_name(&name) => {
                let stream = self.accept_tls(tcp, original_dst, false).await?;
                let session = session(established(&stream), policy);
                self.serve_session(Io::server(stream), session, Announced::Nothing)
                    .await
            }
            Tls::Hello(name) => {
                let sni = self
                    .common
                    .server_names
                    .shown(&name.unwrap_or_default())
                    .into();
                let session = session(InboundTls::Opaque { sni }, policy);
                self.serve_session(Io::rewound(tcp), session, Announced::Opaque)
                    .await
            }
            Tls::None | Tls::Closed => {
                let no_tls = InboundTls::None(NoInboundTls::NoTlsFromRemote);
                let session = session(no_tls, policy);
                self.serve_session(Io::rewound(tcp), session, Announced::Nothing)
                    .await
            }
        }
    }

    /// Whether somebody else than this client has named the port. Of other ports the policy is
    /// looked up when there are bytes: a scan of all ports is no reason to.
    fn is_named(&self, port: u16) -> bool {
        let ports = &self.config.inbound;
        ports.ports.contains(&port)
            || ports.opaque_ports.contains(&port)
            || self.discovery.watches_inbound(port)
    }

    /// The policy of a port that a client named.
    ///
    /// # Errors
    /// When there is none, or clients have named too many ports.
    async fn policy_of(&self, port: u16) -> io::Result<watch::Receiver<Arc<ServerPolicy>>> {
        let policy = self.discovery.inbound_by_client(port).await;
        policy.map_err(|error| {
            let label = match error {
                NoServerPolicy::TooManyPorts => "loadshed",
                NoServerPolicy::Unknown => "unexpected",
            };
            // The target is of the client's choice, and so no label here.
            self.telemetry.tcp_error(true, None, label);
            io::Error::other(error)
        })
    }

    /// Terminates mesh TLS; `direct` on the proxy's own port.
    async fn accept_tls(
        &self,
        tcp: Rewind,
        target: SocketAddr,
        direct: bool,
    ) -> io::Result<TlsStream<Rewind>> {
        let config = if direct {
            self.credentials.direct_server_config()
        } else {
            self.credentials.server_config()
        };
        let limit = self.config.inbound.direction.detect_timeout;
        let handshake = Box::pin(TlsAcceptor::from(config).accept(tcp));
        let result = timeout(limit, handshake).await;
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if result.is_err() {
            self.telemetry.tcp_error(true, Some(target), "i/o");
        }
        result
    }

    /// The application at `addr`.
    fn app(&self, addr: SocketAddr) -> Rc<App> {
        let mut apps = self.apps.borrow_mut();
        if apps.len() >= MAX_IDLE_APPS && !apps.contains_key(&addr) {
            apps.retain(|_, app| Rc::strong_count(app) > 1);
        }
        Rc::clone(apps.entry(addr).or_insert_with(|| App::new(self, addr)))
    }

    async fn connect(&self, addr: SocketAddr) -> Result<TcpStream, crate::http::error::ProxyError> {
        Ok(self.dialer.tcp(addr).await?)
    }

    fn refuse(&self, target: SocketAddr, error: &str, reason: &str) -> io::Result<()> {
        self.telemetry.tcp_error(true, Some(target), error);
        Err(io::Error::other(reason.to_owned()))
    }

    fn is_own(&self, addr: SocketAddr) -> bool {
        let own = &self.config.inbound.own_ips;
        own.is_empty() || own.contains(&addr.ip()) || addr.ip().is_loopback()
    }

    fn is_own_name(&self, sni: &str) -> bool {
        sni == &*self.credentials.local_name().server_name
    }
}

/// What a terminated connection proves.
fn established(stream: &TlsStream<Rewind>) -> InboundTls {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    InboundTls::Established {
        client_id: tls::peer_id(certificates),
    }
}
