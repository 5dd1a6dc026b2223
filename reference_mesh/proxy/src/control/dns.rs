//! Addresses of control-plane components.
//!
//! A component's name is asked for SRV records first, as linkerd2-proxy does: they name the pods
//! behind a headless service, and their ports. Where there are none, its addresses are used with the
//! port that the configuration names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RData, Record};
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
    /// Bounds of what the answers say about themselves.
    ttl: (Option<Duration>, Option<Duration>),
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Addresses, at least one, each once.
    pub addresses: Vec<SocketAddr>,
    /// How long they may be used; none is for ever.
    pub ttl: Option<Duration>,
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
    /// A resolver that counts its look-ups and holds the life of answers within `ttl`.
    #[must_use]
    pub fn new(telemetry: Telemetry, ttl: (Option<Duration>, Option<Duration>)) -> Self {
        Self {
            inner: OnceCell::new(),
            telemetry,
            ttl,
        }
    }

    /// Addresses of `host`. `client` is the component that asks.
    ///
    /// # Errors
    /// When the name has no address or nobody answers in time.
    pub async fn resolve(
        &self,
        client: &str,
        host: &str,
        port: u16,
    ) -> Result<Resolved, ResolveError> {
        if let Some(ip) = literal(host) {
            return Ok(Resolved {
                addresses: vec![SocketAddr::new(ip, port)],
                ttl: None,
            });
        }
        let services = self.services(host, port).await;
        self.telemetry
            .dns_resolution(client, "SRV", services.is_ok());
        let found = match services {
            Ok(found) => Ok(found),
            Err(error) => {
                tracing::debug!(%error, "no SRV records");
                let found = self.addresses(host, port).await;
                self.telemetry
                    .dns_resolution(client, "A/AAAA", found.is_ok());
                found
            }
        };
        let (mut addresses, ttl) = found?;
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return Err(ResolveError::Empty(host.to_owned()));
        }
        let (min, max) = self.ttl;
        let ttl = ttl.max(min.unwrap_or(ttl));
        Ok(Resolved {
            addresses,
            ttl: Some(ttl.min(max.unwrap_or(ttl))),
        })
    }

    /// Addresses by SRV records.
    async fn services(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(Vec<SocketAddr>, Duration), ResolveError> {
        let inner = self.inner(host).await?;
        let answer = bounded(host, inner.srv_lookup(absolute(host))).await?;
        let targets = targets(answer.answers(), port);
        let mut addresses = Vec::new();
        for (target, port) in targets.into_iter().take(MAX_ADDRESSES) {
            // Servers send the addresses along: they know what is asked next.
            let known = ips(answer.additionals().iter().filter(|r| r.name == target));
            let ips = if known.is_empty() {
                let answer = bounded(host, inner.lookup_ip(target)).await?;
                ips(answer.as_lookup().answers())
            } else {
                known
            };
            addresses.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, port)));
        }
        if addresses.is_empty() {
            return Err(ResolveError::Empty(host.to_owned()));
        }
        Ok((addresses, ttl(&answer)))
    }

    /// Addresses by A and AAAA records.
    async fn addresses(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(Vec<SocketAddr>, Duration), ResolveError> {
        let inner = self.inner(host).await?;
        let answer = bounded(host, inner.lookup_ip(absolute(host))).await?;
        let addresses = answer.iter().map(|ip| SocketAddr::new(ip, port)).collect();
        Ok((addresses, ttl(answer.as_lookup())))
    }

    async fn inner(&self, host: &str) -> Result<&TokioResolver, ResolveError> {
        let made = self.inner.get_or_try_init(|| async { system() }).await;
        made.map_err(|error| ResolveError::Lookup(host.to_owned(), error))
    }
}

/// The system's resolver.
fn system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    configure(builder.options_mut());
    builder.build()
}

fn configure(options: &mut ResolverOpts) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.attempts = 2;
    options.timeout = Duration::from_secs(2);
    // Pods move; whoever looks up keeps the answer for as long as it holds.
    options.cache_size = 0;
}

async fn bounded<T>(
    host: &str,
    lookup: impl Future<Output = Result<T, NetError>>,
) -> Result<T, ResolveError> {
    let answer = timeout(LOOKUP_LIMIT, lookup).await;
    let answer = answer.map_err(|_| ResolveError::Timeout(host.to_owned()))?;
    answer.map_err(|error| ResolveError::Lookup(host.to_owned(), error))
}

/// The trailing dot keeps the search list of Kubernetes pods out: five wasted queries.
fn absolute(host: &str) -> String {
    format!("{}.", host.trim_end_matches('.'))
}

/// Names and ports of SRV records. A name may stand for services on other ports as well: where one
/// is on the port that was configured, that one is meant.
fn targets(records: &[Record], port: u16) -> Vec<(Name, u16)> {
    let all = records.iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some((srv.target.clone(), srv.port)),
        _ => None,
    });
    let mut all: Vec<_> = all.collect();
    if all.iter().any(|(_, own)| *own == port) {
        all.retain(|(_, own)| *own == port);
    }
    all
}

fn ips<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<IpAddr> {
    let ips = records.into_iter().filter_map(|r| r.data.ip_addr());
    ips.collect()
}

fn ttl(answer: &Lookup) -> Duration {
    let seconds = answer.answers().iter().map(|record| record.ttl).min();
    Duration::from_secs(seconds.unwrap_or_default().into())
}

/// The address that `host` spells, if it is not a name.
fn literal(host: &str) -> Option<IpAddr> {
    if host.trim_end_matches('.') == "localhost" {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    host.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests;
