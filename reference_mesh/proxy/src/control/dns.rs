//! Addresses of control-plane components.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverOpts};
use hickory_resolver::net::NetError;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::telemetry::Telemetry;

/// Limit of one look-up, all servers and tries included.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 64;

/// A resolver of host names, made at the first look-up: a proxy that is told addresses reads no
/// `/etc/resolv.conf`.
pub struct Resolver {
    inner: OnceCell<TokioResolver>,
    telemetry: Telemetry,
}

/// A name that gave no address.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The system's configuration cannot be used, or no server answered.
    #[error("cannot resolve {0}: {1}")]
    Lookup(String, NetError),
    /// No answer in time.
    #[error("cannot resolve {0}: no answer in {LOOKUP_LIMIT:?}")]
    Timeout(String),
    /// The name exists, without addresses.
    #[error("{0} has no address")]
    Empty(String),
}

// === impl Resolver ===

impl Resolver {
    /// A resolver that counts its look-ups.
    #[must_use]
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            inner: OnceCell::new(),
            telemetry,
        }
    }

    /// Addresses of `host`, in a random order. `client` is the component that asks.
    ///
    /// # Errors
    /// When the name has no address or nobody answers in time.
    pub async fn resolve(
        &self,
        client: &str,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Some(ip) = literal(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let found = self.lookup(host).await;
        self.telemetry
            .dns_resolution(client, "A/AAAA", found.is_ok());
        let mut addresses: Vec<_> = found?
            .into_iter()
            .take(MAX_ADDRESSES)
            .map(|ip| SocketAddr::new(ip, port))
            .collect();
        if addresses.is_empty() {
            return Err(ResolveError::Empty(host.to_owned()));
        }
        fastrand::shuffle(&mut addresses);
        Ok(addresses)
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let failed = |error| ResolveError::Lookup(host.to_owned(), error);
        let resolver = self
            .inner
            .get_or_try_init(|| async { build() })
            .await
            .map_err(failed)?;
        // The trailing dot keeps the search list of Kubernetes pods out: five wasted queries.
        let name = format!("{}.", host.trim_end_matches('.'));
        let answer = timeout(LOOKUP_LIMIT, resolver.lookup_ip(name)).await;
        let answer = answer.map_err(|_| ResolveError::Timeout(host.to_owned()))?;
        Ok(answer.map_err(failed)?.iter().collect())
    }
}

fn build() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options: &mut ResolverOpts = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.attempts = 2;
    options.timeout = Duration::from_secs(2);
    // Pods move; an attempt to connect asks anew.
    options.cache_size = 0;
    builder.build()
}

/// The address that `host` spells, if it is not a name.
fn literal(host: &str) -> Option<IpAddr> {
    if host == "localhost" {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    host.trim_matches(['[', ']']).parse().ok()
}
