//! From a name to an open connection, through the pod's own resolver.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use super::outcome::{Phase, Progress, kind_of};
use super::plan::Plan;
use crate::http1::Inbound;
use crate::transport::Boxed;

/// A connection of the client.
pub struct Connection {
    /// Number within the plan, from 1.
    pub number: u64,
    /// Receiving half.
    pub inbound: Inbound<ReadHalf<Boxed>>,
    /// Sending half.
    pub writer: WriteHalf<Boxed>,
    /// Own address.
    pub local: SocketAddr,
    /// Dialled address.
    pub peer: SocketAddr,
}

impl Connection {
    /// Whether the server left it open and quiet, so that it can be used again.
    pub async fn is_idle(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.inbound.fill() => false,
            () = std::future::ready(()) => self.inbound.buffered().is_empty(),
        }
    }

    /// Notes in the outcome which connection carries the call.
    pub fn carries(&self, progress: &mut Progress) {
        progress.outcome.connection = self.number;
        progress.outcome.local = Some(self.local.to_string());
        progress.outcome.peer = Some(self.peer.to_string());
        progress.phase = Phase::Head;
    }
}

/// Opens connections for one plan and numbers them.
pub struct Dialer {
    address: String,
    timeout: Duration,
    opened: AtomicU64,
    ends: Mutex<BTreeMap<&'static str, u64>>,
}

impl Dialer {
    /// A dialer to where `plan` leads.
    pub fn new(plan: &Plan) -> Result<Self, String> {
        Ok(Self::to(
            plan.dial()?,
            Duration::from_secs_f64(plan.connect_timeout_s),
        ))
    }

    /// A dialer to `address`, a `host:port`, that gives up after `timeout`.
    pub fn to(address: String, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            opened: AtomicU64::new(0),
            ends: Mutex::default(),
        }
    }

    /// How many connections were opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Notes why a kept connection takes no further calls.
    pub fn ended(&self, how: &'static str) {
        *self.ends.lock().entry(how).or_default() += 1;
    }

    /// How often kept connections ended in each way: `announced` (Connection: close), `goaway`,
    /// `closed` (found closed between two calls).
    pub fn ends(&self) -> BTreeMap<&'static str, u64> {
        self.ends.lock().clone()
    }

    /// Resolves and connects; a failure is in `progress`.
    pub async fn open(&self, progress: &mut Progress) -> Option<Connection> {
        match tokio::time::timeout(self.timeout, self.connect(progress)).await {
            Ok(connection) => connection,
            Err(_) => {
                let address = &self.address;
                progress.fail(
                    "timeout",
                    format!("{address}: no connection in {:?}", self.timeout),
                );
                None
            }
        }
    }

    async fn connect(&self, progress: &mut Progress) -> Option<Connection> {
        progress.phase = Phase::Resolve;
        let addresses = match tokio::net::lookup_host(&self.address).await {
            Ok(addresses) => addresses.collect::<Vec<_>>(),
            Err(error) => {
                progress.fail("dns", format!("{}: {error}", self.address));
                return None;
            }
        };
        progress.phase = Phase::Connect;
        // One address only: trying the next would be a retry.
        let Some(peer) = addresses.first().copied() else {
            progress.fail("dns", format!("{}: no address", self.address));
            return None;
        };
        match TcpStream::connect(peer)
            .await
            .and_then(|s| s.local_addr().map(|local| (s, local)))
        {
            Ok((stream, local)) => {
                // Fails only when the peer is gone already; the call will tell.
                let _ = stream.set_nodelay(true);
                progress.outcome.connected_after_ns = Some(progress.after_ns());
                let (read, writer) = tokio::io::split(Box::new(stream) as Boxed);
                let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
                let inbound = Inbound::new(read, BytesMut::new());
                Some(Connection {
                    number,
                    inbound,
                    writer,
                    local,
                    peer,
                })
            }
            Err(error) => {
                progress.fail(kind_of(error.kind()), format!("{peer}: {error}"));
                progress.outcome.peer = Some(peer.to_string());
                None
            }
        }
    }
}
