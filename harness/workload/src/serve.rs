//! The server side of the workload: one port for every HTTP, one each for the two kinds of TCP.
//!
//! What a connection speaks is told by its first bytes, as an HTTP/2 client with prior knowledge
//! and any HTTP/1 client need nothing else. Everything that arrives goes into one ledger.

pub mod attempt;
pub mod connections;
pub mod grpc;
pub mod http1;
pub mod http2;
pub mod ledger;
pub mod reply;
pub mod steering;
pub mod tcp;
pub mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::unix_ns;
use crate::http1::Inbound;
use crate::transport::Boxed;
use connections::{Connection, Connections};
use ledger::{Ledger, Summary};
use steering::Steering;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.x, HTTP/2 with prior knowledge, gRPC, WebSocket.
    Http,
    /// TCP; the client speaks first and gets its bytes back.
    Echo,
    /// TCP; the server greets first.
    Banner,
}

/// The state that all connections share.
pub struct App {
    /// Name of the pod.
    pub pod: String,
    /// Differs for each start of the process.
    pub boot: String,
    /// Every attempt.
    pub ledger: Ledger,
    /// Every connection.
    pub connections: Arc<Connections>,
    steering: RwLock<Steering>,
    draining: watch::Sender<bool>,
}

impl App {
    /// An application called `pod` whose ledger holds up to `ledger_bytes`.
    pub fn new(pod: String, ledger_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            pod,
            boot: format!("{:x}-{:x}", unix_ns(), std::process::id()),
            ledger: Ledger::new(ledger_bytes),
            connections: Arc::default(),
            steering: RwLock::default(),
            draining: watch::Sender::new(false),
        })
    }

    /// What requests are steered by where they say nothing themselves.
    pub fn steering(&self) -> Steering {
        self.steering.read().clone()
    }

    /// Changes that.
    pub fn steer(&self, steering: Steering) {
        *self.steering.write() = steering;
    }

    /// Tells every connection to end after what is in progress on it.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether [`App::drain`] was called.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns once [`App::drain`] was called.
    pub async fn drained(&self) {
        let mut draining = self.draining.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// First line of the ledger, and records after `since`.
    pub fn read_ledger(&self, since: u64, limit: usize) -> (Summary, Vec<Box<str>>) {
        let (counts, lines) = self.ledger.read(since, limit);
        let summary = Summary {
            boot: self.boot.clone(),
            pod: self.pod.clone(),
            dropped: counts.dropped,
            last: counts.last,
            arrived: counts.arrived,
            in_progress: counts.in_progress,
            in_progress_high: counts.in_progress_high,
        };
        (summary, lines)
    }
}

/// Accepts connections until the application drains, then waits for those that are open.
///
/// Dropping the future ends every connection at once.
pub async fn listen(app: Arc<App>, listener: TcpListener, speech: Speech) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = app.drained() => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    tasks.spawn(connection(app.clone(), stream, peer, speech));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn connection(app: Arc<App>, stream: TcpStream, peer: SocketAddr, speech: Speech) {
    // Both fail only when the peer is gone already; the read that follows tells.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let connection = app.connections.open(local, peer);
    match speech {
        Speech::Http => {
            let inbound = Inbound::new(Box::new(stream) as Boxed, BytesMut::new());
            http(app, inbound, connection).await;
        }
        Speech::Echo => tcp::echo(app, stream, connection, false).await,
        Speech::Banner => tcp::echo(app, stream, connection, true).await,
    }
}

/// Serves whichever HTTP arrives.
pub async fn http(app: Arc<App>, mut inbound: Inbound<Boxed>, connection: Connection) {
    loop {
        let have = inbound.buffered();
        let compared = have.len().min(H2_PREFACE.len());
        if have[..compared] != H2_PREFACE[..compared] {
            connection.speaks("HTTP/1");
            return http1::serve(app, inbound, connection).await;
        }
        if compared == H2_PREFACE.len() {
            connection.speaks("HTTP/2");
            return http2::serve(app, inbound, connection).await;
        }
        let filled = tokio::select! {
            filled = inbound.fill() => filled,
            () = app.drained() => return connection.ends("drained before a request"),
        };
        match filled {
            Ok(0) => return connection.ends("closed by the peer"),
            Ok(_) => {}
            Err(error) => return connection.ends(error.to_string()),
        }
    }
}
