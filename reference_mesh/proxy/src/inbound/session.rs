//! What is spoken on a connection to one port, as the port's policy and the first bytes say.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::http::Service;
use super::{Inbound, tcp};
use crate::detect::{self, Http};
use crate::http::{h1, h2};
use crate::identity::Id;
use crate::outbound::judge;
use crate::policy::inbound::{Client, Protocol, ServerPolicy};
use crate::telemetry::{InboundTarget, TransportLabels, access_log};
use crate::tls::InboundTls;
use crate::transport::Io;

/// A client's connection to one port, as policy and metrics see it.
pub(crate) struct Session {
    pub(super) client: SocketAddr,
    /// Where the client meant to connect to.
    pub(super) target: SocketAddr,
    pub(super) tls: InboundTls,
    pub(super) policy: RefCell<watch::Receiver<Arc<ServerPolicy>>>,
}

/// What follows on a connection, where that is known without looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// Nothing was said.
    Nothing,
    /// HTTP of this version.
    Http(Http),
    /// Bytes.
    Opaque,
}

// === impl Session ===

impl Session {
    /// The policy in force.
    pub(super) fn policy(&self) -> Arc<ServerPolicy> {
        Arc::clone(&self.policy.borrow().borrow())
    }

    pub(super) fn as_client(&self) -> Client<'_> {
        Client {
            ip: self.client.ip(),
            tls: self.tls.for_policy(),
        }
    }

    /// The client, as the access log names it.
    pub(super) fn logged(&self) -> access_log::Client<'_> {
        access_log::Client {
            addr: self.client,
            id: self.tls.client_id().map(Id::as_str),
            target: self.target,
        }
    }

    pub(super) fn labels<'a>(&'a self, policy: &'a ServerPolicy) -> InboundTarget<'a> {
        InboundTarget {
            target: self.target,
            tls: &self.tls,
            server: &policy.meta,
            server_port: self.target.port(),
        }
    }
}

// === impl Inbound ===

impl Inbound {
    /// Reads the session as the policy of its port says.
    pub(super) async fn serve_session(
        self: Rc<Self>,
        io: Io,
        session: Session,
        announced: Announced,
    ) -> io::Result<()> {
        let policy = session.policy();
        let labels = TransportLabels::InboundAccept {
            target: session.target,
            tls: &session.tls,
            server: &policy.meta,
            server_port: session.target.port(),
        };
        let io = io.counted(self.telemetry.transport(labels).open());
        let (http, io) = match announced {
            Announced::Opaque => (None, io),
            Announced::Http(http) => (Some(http), io),
            Announced::Nothing => match self.detect_http(io, &session, &policy).await? {
                Some(found) => found,
                None => return Ok(()),
            },
        };
        // Each in a box of its own: a connection holds memory for what it speaks, and one that has
        // said nothing yet for none of it.
        match http {
            None => Box::pin(tcp::forward(&self, io, &session)).await,
            Some(Http::Http1) => {
                let mut drain = self.drain.clone();
                let service = Service::new(&self, session);
                let served = Box::pin(h1::serve(io, &service, &mut drain));
                served.await.map(|_| ())
            }
            Some(Http::Http2) => {
                let mut drain = self.drain.clone();
                let settings = self.config.inbound.direction.h2_server;
                let service = Rc::new(Service::new(&self, session));
                Box::pin(h2::serve(io, service, settings, &mut drain))
                    .await
                    .map_err(io::Error::other)
            }
        }
    }

    /// What the session speaks: HTTP or (inner none) bytes; the outer none has ended.
    async fn detect_http(
        &self,
        io: Io,
        session: &Session,
        policy: &ServerPolicy,
    ) -> io::Result<Option<(Option<Http>, Io)>> {
        let timeout = match &policy.protocol {
            Protocol::Opaque | Protocol::Tls => return Ok(Some((None, io))),
            Protocol::Http2(_) | Protocol::Grpc(_) => {
                return Ok(Some((Some(Http::Http2), io)));
            }
            // Peers carry HTTP/1 over HTTP/2; others speak it.
            Protocol::Http1(_) if session.tls.client_id().is_none() => {
                return Ok(Some((Some(Http::Http1), io)));
            }
            Protocol::Detect { timeout, .. } => *timeout,
            Protocol::Http1(_) | Protocol::Invalid(_) => {
                self.config.inbound.direction.detect_timeout
            }
        };
        let metrics = self
            .telemetry
            .inbound_detect(&policy.meta, session.target.port());
        let started = Instant::now();
        judge(detect::http(io, timeout).await, &metrics, started)
    }
}
