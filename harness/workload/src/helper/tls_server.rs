//! A TLS server with any certificate, and what clients did with it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::LazyConfigAcceptor;

use super::credentials::{Credulous, alert_of, certified, provider, versions};
use super::transport_header::{ALPN, TransportHeader};
use crate::call::outcome::kind_of;
use crate::clock::unix_ns;
use crate::control::Response;
use crate::http1::Inbound;
use crate::seeded::{Tally, hex};
use crate::serve::{self, App};
use crate::transport::Boxed;

/// Servers at once.
const SERVERS: usize = 16;

/// Sessions that can be resumed.
const SESSIONS: usize = 256;

/// Connections that a server reports; further ones are only counted.
const CONNECTIONS_KEPT: usize = 1000;

/// Bytes of a connection's beginning that are reported, and at most kept of its content.
const START_BYTES: usize = 64;

/// What to serve.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Address and port; port 0 is chosen by the system.
    #[serde(default = "anywhere")]
    pub address: SocketAddr,
    /// Certificate chain, leaf first.
    pub cert_pem: String,
    /// Key to sign with.
    pub key_pem: String,
    /// ALPN protocols; empty negotiates none.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// TLS versions.
    #[serde(default = "newest")]
    pub versions: Vec<String>,
    /// Ask clients for a certificate (and accept any, or none).
    #[serde(default = "yes")]
    pub ask_client: bool,
    /// Answer HTTP; otherwise read everything and answer nothing.
    #[serde(default = "yes")]
    pub http: bool,
}

/// One connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Peer address.
    pub peer: String,
    /// When it was accepted, Unix nanoseconds.
    pub at_ns: u64,
    /// First bytes on the wire, hex: `1603` begins a TLS handshake.
    pub start_hex: String,
    /// SNI of the client.
    pub server_name: Option<String>,
    /// ALPN protocols that the client offered.
    pub alpn_offered: Vec<String>,
    /// ALPN protocol that was chosen.
    pub alpn: Option<String>,
    /// Whether the handshake completed.
    pub handshake: bool,
    /// The client's certificates, base64 of their DER, leaf first.
    pub peer_chain: Vec<String>,
    /// Alert that the client sent.
    pub alert: Option<String>,
    /// `eof`, `reset`, `tls` or `io`.
    pub error: Option<String>,
    /// The error in words.
    pub message: String,
    /// Transport header that the client sent.
    pub transport_header: Option<TransportHeader>,
    /// Application bytes received; only counted without `http`.
    pub received_bytes: u64,
    /// Their beginning, hex.
    pub received_hex: String,
}

#[derive(Default)]
struct Log {
    accepted: u64,
    seen: Vec<Seen>,
}

/// Running servers.
pub struct Servers {
    app: Arc<App>,
    running: Mutex<HashMap<u64, Server>>,
    last: Mutex<u64>,
}

struct Server {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Servers {
    /// No servers yet; the requests that they will get are recorded by `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            running: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// Starts a server.
    pub async fn start(&self, order: Order) -> Result<Response, Response> {
        let bad = |why: String| Response::error(400, why);
        if self.running.lock().len() >= SERVERS {
            return Err(Response::error(
                429,
                format!("{SERVERS} servers run: end one first"),
            ));
        }
        let rogue = Arc::new(Rogue::new(&order, self.app.clone()).map_err(bad)?);
        let listener = TcpListener::bind(order.address)
            .await
            .map_err(|error| Response::error(500, format!("{}: {error}", order.address)))?;
        let port = listener.local_addr().map_or(0, |address| address.port());
        let log = Arc::new(Mutex::new(Log::default()));
        let task = tokio::spawn(listen(rogue, listener, log.clone()));
        let mut last = self.last.lock();
        *last += 1;
        self.running.lock().insert(*last, Server { log, task });
        Ok(Response::with_status(
            201,
            &json!({"id": *last, "port": port}),
        ))
    }

    /// What a server saw so far.
    pub fn show(&self, id: &str) -> Response {
        let running = self.running.lock();
        match id.parse().ok().and_then(|id: u64| running.get(&id)) {
            Some(server) => server.report(),
            None => Response::error(404, format!("no server {id:?}")),
        }
    }

    /// Ends a server and its connections.
    pub fn end(&self, id: &str) -> Response {
        let taken = id
            .parse()
            .ok()
            .and_then(|id: u64| self.running.lock().remove(&id));
        match taken {
            Some(server) => server.report(),
            None => Response::error(404, format!("no server {id:?}")),
        }
    }
}

impl Server {
    fn report(&self) -> Response {
        let log = self.log.lock();
        Response::json(&json!({"accepted": log.accepted, "connections": log.seen}))
    }
}

async fn listen(rogue: Arc<Rogue>, listener: TcpListener, log: Arc<Mutex<Log>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { continue };
                let (rogue, log) = (rogue.clone(), log.clone());
                connections.spawn(async move {
                    let place = {
                        let mut log = log.lock();
                        log.accepted += 1;
                        (log.seen.len() < CONNECTIONS_KEPT).then(|| {
                            log.seen.push(Seen {
                                peer: peer.to_string(),
                                at_ns: unix_ns(),
                                ..Seen::default()
                            });
                            log.seen.len() - 1
                        })
                    };
                    let note = Note { log, place };
                    if let Err(error) = rogue.serve(stream, peer, &note).await {
                        let alert = alert_of(&error);
                        let tls = error.get_ref().is_some_and(|e| e.is::<rustls::Error>());
                        let kind = if tls { "tls" } else { kind_of(error.kind()) };
                        note.set(|seen| {
                            seen.alert = alert;
                            seen.error = Some(kind.to_owned());
                            seen.message = error.to_string();
                        });
                    }
                });
            }
        }
    }
}

/// Where a connection notes what happens to it.
struct Note {
    log: Arc<Mutex<Log>>,
    place: Option<usize>,
}

impl Note {
    fn set(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(place) = self.place {
            change(&mut self.log.lock().seen[place]);
        }
    }
}

struct Rogue {
    order: Order,
    key: Arc<CertifiedKey>,
    sessions: Arc<ServerSessionMemoryCache>,
    app: Arc<App>,
}

impl Rogue {
    fn new(order: &Order, app: Arc<App>) -> Result<Self, String> {
        let rogue = Self {
            order: order.clone(),
            key: certified(&order.cert_pem, &order.key_pem)?,
            sessions: ServerSessionMemoryCache::new(SESSIONS),
            app,
        };
        // Mistakes are told when the server is ordered, not when the first client comes.
        rogue.config(&Credulous::new(None)?)?;
        Ok(rogue)
    }

    fn config(&self, verifier: &Arc<Credulous>) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(&self.order.versions)?)
            .map_err(|error| format!("versions: {error}"))?;
        let builder = match self.order.ask_client {
            true => builder.with_client_cert_verifier(verifier.clone()),
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Always(self.key.clone())));
        config.alpn_protocols = self
            .order
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        // Each connection has a verifier and so a configuration of its own; tickets outlive both.
        config.session_storage = self.sessions.clone();
        Ok(config)
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, note: &Note) -> std::io::Result<()> {
        let mut start = [0; START_BYTES];
        let count = stream.peek(&mut start).await?;
        note.set(|seen| seen.start_hex = hex(&start[..count]));
        let local = stream.local_addr()?;
        let opening = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let hello = opening.client_hello();
        let offered: Vec<String> = hello
            .alpn()
            .map(|names| {
                names
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .collect()
            })
            .unwrap_or_default();
        let name = hello.server_name().map(str::to_owned);
        note.set(|seen| (seen.server_name, seen.alpn_offered) = (name, offered));
        let verifier = Credulous::new(None).map_err(std::io::Error::other)?;
        let config = self.config(&verifier).map_err(std::io::Error::other)?;
        let accepted = opening.into_stream(Arc::new(config)).await;
        note.set(|seen| seen.peer_chain = verifier.shown().chain);
        let stream = accepted?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        note.set(|seen| {
            seen.handshake = true;
            seen.alpn = alpn
                .as_ref()
                .map(|name| String::from_utf8_lossy(name).into_owned());
        });
        let mut inbound = Inbound::new(Box::new(stream) as Boxed, BytesMut::new());
        if alpn.as_deref() == Some(ALPN) {
            let header = TransportHeader::read(&mut inbound)
                .await
                .map_err(std::io::Error::other)?;
            note.set(|seen| seen.transport_header = Some(header));
        }
        match self.order.http {
            true => {
                let connection = self.app.connections.open(local, peer);
                serve::http(self.app.clone(), inbound, connection).await;
                Ok(())
            }
            false => drink(inbound, note).await,
        }
    }
}

/// Reads everything and says nothing.
async fn drink(mut inbound: Inbound<Boxed>, note: &Note) -> std::io::Result<()> {
    let mut tally = Tally::default();
    while let Some(piece) = inbound.some(u64::MAX).await? {
        if tally.bytes() == 0 {
            let start = hex(&piece[..piece.len().min(START_BYTES)]);
            note.set(|seen| seen.received_hex = start);
        }
        tally.add(&piece);
        note.set(|seen| seen.received_bytes = tally.bytes());
    }
    Ok(())
}

/// Shows one certificate whatever the client asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

fn newest() -> Vec<String> {
    vec!["1.3".to_owned()]
}

fn yes() -> bool {
    true
}
