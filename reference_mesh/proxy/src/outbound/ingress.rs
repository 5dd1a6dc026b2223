//! Ingress mode: requests go to the service that their `l5d-dst-override` names.
//!
//! As in linkerd2-proxy, every connection is looked at for HTTP first, whatever is known of where it
//! goes: a request may name another place. One that names none goes where its connection goes, and so
//! does all that is no HTTP. A destination that is opaque has no routes for requests: they get a 404.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ::http::HeaderMap;
use tokio::sync::OnceCell;

use super::Outbound;
use super::target::{Kind, Target, Used};
use crate::detect::{self, Detected};
use crate::discovery::{Addr, NameAddr};
use crate::http::error::ProxyError;
use crate::http::headers::DST_OVERRIDE;
use crate::policy::outbound::Protocol;
use crate::transport::Io;

/// Where the requests of a client's connection go.
pub(super) enum Destination {
    /// All of them to one place.
    Fixed(Rc<Target>),
    /// Each to the one that it names.
    Named(ByName),
}

/// Finds the target of each request.
pub(super) struct ByName {
    original_dst: SocketAddr,
    /// Looked up by the first request that names none.
    original: OnceCell<Used>,
}

/// Serves a connection to `original_dst`.
///
/// # Errors
/// When it breaks, or leads nowhere.
pub(super) async fn serve(
    outbound: Rc<Outbound>,
    io: Io,
    client: SocketAddr,
    original_dst: SocketAddr,
) -> io::Result<()> {
    let timeout = outbound.config.outbound.direction.detect_timeout;
    let (detected, io) = detect::http(io, timeout).await?;
    let kind = match detected {
        Detected::Http(http) => Kind::from(Some(http)),
        Detected::Other | Detected::TimedOut => {
            let target = outbound.target(original_dst.into()).await;
            let is_routed_tls = matches!(target.policy().protocol, Protocol::Tls(_));
            let kind = if is_routed_tls {
                Kind::Tls
            } else {
                Kind::Opaque
            };
            let served = outbound.serve_tcp(io, kind, &target).await;
            target.touch();
            return served;
        }
        Detected::Closed => return Ok(()),
    };
    let by_name = ByName {
        original_dst,
        original: OnceCell::new(),
    };
    outbound
        .serve_http(io, client, kind, Destination::Named(by_name))
        .await
}

// === impl ByName ===

impl ByName {
    /// Where the request with `headers` goes. Takes the name out of them.
    pub(super) async fn target(
        &self,
        outbound: &Rc<Outbound>,
        headers: &mut HeaderMap,
    ) -> Result<Rc<Target>, ProxyError> {
        let value = headers.remove(DST_OVERRIDE);
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            let look_up = async || Used(outbound.target(self.original_dst.into()).await);
            return Ok(Rc::clone(&self.original.get_or_init(look_up).await.0));
        };
        let name = value.to_str().ok().and_then(NameAddr::parse);
        let bad = ProxyError::BadRequest("l5d-dst-override is not a valid host:port");
        outbound.named(name.ok_or(bad)?).await
    }
}

// === impl Destination ===

impl Destination {
    /// The address that the client dialled, for the log.
    pub(super) fn original(&self) -> Addr {
        match self {
            Self::Fixed(target) => target.addr.clone(),
            Self::Named(by_name) => by_name.original_dst.into(),
        }
    }
}

// === impl Outbound ===

impl Outbound {
    async fn named(self: &Rc<Self>, name: NameAddr) -> Result<Rc<Target>, ProxyError> {
        let suffixes = &self.config.lookup.suffixes;
        if !suffixes.iter().any(|suffix| suffix.covers(&name)) {
            return Err(ProxyError::Dispatcher(name.undiscovered()));
        }
        let addr = Addr::Name(name);
        let is_known = self.targets.borrow().contains_key(&addr);
        if !is_known && !self.discovery.has_room_for(&addr) {
            tracing::info!(%addr, "Requests name too many services at a time");
            return Err(ProxyError::LoadShed);
        }
        self.sweep_later();
        Ok(self.target(addr).await)
    }
}
