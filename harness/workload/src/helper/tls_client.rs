//! A TLS client with any certificate, name, ALPN and version, and what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::credentials::{Credulous, Shows, alert_of, certified, provider, versions};
use super::transport_header::TransportHeader;
use crate::call::outcome::kind_of;
use crate::call::plan::KEEP_LIMIT_BYTES;
use crate::h2io;
use crate::http1::{Error, Fields, Framing, Head, Inbound, Reader, head};
use crate::seeded::{Tally, unhex};

/// Sessions that can be resumed later.
const SESSIONS: usize = 64;

/// What to try.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `host:port` to dial.
    pub address: String,
    /// SNI; without it none is sent.
    #[serde(default)]
    pub server_name: Option<String>,
    /// ALPN protocols to offer.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// TLS versions to offer.
    #[serde(default = "newest")]
    pub versions: Vec<String>,
    /// Certificate chain to show, leaf first; without it none.
    #[serde(default)]
    pub cert_pem: Option<String>,
    /// Key to sign with.
    #[serde(default)]
    pub key_pem: Option<String>,
    /// Roots to judge the server by; it is accepted all the same.
    #[serde(default)]
    pub roots_pem: Option<String>,
    /// Name of a session: a later probe with the same name offers the tickets of this one, with
    /// the certificate, versions and ALPN of the first.
    #[serde(default)]
    pub session: Option<String>,
    /// Sent first after the handshake.
    #[serde(default)]
    pub transport_header: Option<TransportHeader>,
    /// What to send then.
    #[serde(default)]
    pub send: Send,
    /// Longest time for all of it, seconds.
    #[serde(default = "five")]
    pub deadline_s: f64,
    /// Bytes of what comes back that the report carries.
    #[serde(default = "kept")]
    pub keep_bytes: usize,
}

/// What to send after the handshake.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Send {
    /// Nothing: read until the server ends or the deadline.
    #[default]
    Nothing,
    /// Bytes, then read until the server ends or the deadline.
    Raw {
        /// The bytes.
        hex: String,
    },
    /// An HTTP/1.1 request; ends with its response.
    H1(HttpRequest),
    /// An HTTP/2 request; ends with its response.
    H2(HttpRequest),
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
pub struct HttpRequest {
    method: String,
    path: String,
    authority: String,
    #[serde(default)]
    headers: Fields,
    #[serde(default)]
    body_hex: Option<String>,
}

impl HttpRequest {
    fn body(&self) -> Result<Option<Bytes>, Error> {
        let Some(hex) = &self.body_hex else {
            return Ok(None);
        };
        let bytes = unhex(hex).ok_or_else(|| Error::Malformed("send.body_hex".into()))?;
        Ok(Some(bytes.into()))
    }
}

/// What became of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether TCP connected.
    pub connected: bool,
    /// Whether the handshake completed on this side. In TLS 1.3 the server may still refuse the
    /// client's certificate afterwards: see `alert`.
    pub handshake: bool,
    /// Length of the handshake, nanoseconds.
    pub handshake_ns: u64,
    /// Negotiated version: `1.2` or `1.3`.
    pub version: Option<&'static str>,
    /// Negotiated cipher suite.
    pub cipher: Option<String>,
    /// Negotiated ALPN protocol.
    pub alpn: Option<String>,
    /// Whether the server accepted a ticket.
    pub resumed: bool,
    /// Tickets received.
    pub tickets: u64,
    /// The server's certificates, base64 of their DER, leaf first; empty when resumed.
    pub peer_chain: Vec<String>,
    /// What an honest client with the given roots would have said.
    pub verify_error: Option<String>,
    /// Alert that the server sent, whenever it did.
    pub alert: Option<String>,
    /// `dns`, `refused`, `reset`, `eof`, `timeout`, `tls`, `malformed`, `h2` or `io`.
    pub error: Option<String>,
    /// The error in words.
    pub message: String,
    /// How the server ended: `close_notify`, `fin` (without one), `reset`, `alert`, `timeout`.
    pub end: Option<&'static str>,
    /// Status of the response.
    pub status: Option<u16>,
    /// Fields of the response.
    pub headers: Fields,
    /// Trailer fields of the response.
    pub trailers: Fields,
    /// Application bytes received; for HTTP those of the body.
    pub received_bytes: u64,
    /// Their SHA-256.
    pub received_sha256: String,
    /// Their beginning, base64.
    pub received: String,
}

/// TLS clients that remember sessions.
#[derive(Default)]
pub struct Clients {
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Clone)]
struct Session {
    config: Arc<ClientConfig>,
    verifier: Arc<Credulous>,
    tickets: Arc<Tickets>,
}

impl Clients {
    /// Tries; only a probe that makes no sense is an error.
    pub async fn probe(&self, probe: &Probe) -> Result<Report, String> {
        let session = self.session(probe)?;
        let name = match &probe.server_name {
            Some(name) => ServerName::try_from(name.clone())
                .map_err(|_| format!("server_name: {name:?} is no DNS name"))?,
            // An address is never sent as SNI (RFC 6066 section 3).
            None => ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])),
        };
        if !(probe.deadline_s > 0.0 && probe.deadline_s <= 600.0) {
            return Err("deadline_s: must be more than 0 and at most 600".into());
        }
        if probe.keep_bytes > KEEP_LIMIT_BYTES {
            return Err(format!("keep_bytes: at most {KEEP_LIMIT_BYTES}"));
        }
        session.verifier.forget();
        session.tickets.received.store(0, Ordering::Relaxed);
        let mut run = Run {
            report: Report::default(),
            tally: Tally::default(),
            kept: Vec::new(),
        };
        let deadline = Duration::from_secs_f64(probe.deadline_s);
        let attempt = run.attempt(probe, &session, name);
        if tokio::time::timeout(deadline, attempt).await.is_err() {
            run.report.end = Some("timeout");
            if !run.report.handshake {
                run.report.error = Some("timeout".into());
            }
        }
        let mut report = run.report;
        let shown = session.verifier.shown();
        report.peer_chain = shown.chain;
        report.verify_error = shown.verify_error;
        report.tickets = session.tickets.received.load(Ordering::Relaxed);
        report.received_bytes = run.tally.bytes();
        report.received_sha256 = run.tally.sha256();
        report.received = STANDARD.encode(run.kept);
        Ok(report)
    }

    fn session(&self, probe: &Probe) -> Result<Session, String> {
        let Some(name) = &probe.session else {
            return Session::new(probe);
        };
        let mut sessions = self.sessions.lock();
        if let Some(session) = sessions.get(name) {
            return Ok(session.clone());
        }
        if sessions.len() >= SESSIONS {
            return Err(format!("session: {SESSIONS} are kept already"));
        }
        let session = Session::new(probe)?;
        sessions.insert(name.clone(), session.clone());
        Ok(session)
    }
}

impl Session {
    fn new(probe: &Probe) -> Result<Self, String> {
        let verifier = Credulous::new(probe.roots_pem.as_deref())?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(&probe.versions)?)
            .map_err(|error| format!("versions: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match (&probe.cert_pem, &probe.key_pem) {
            (Some(chain), Some(key)) => {
                builder.with_client_cert_resolver(Arc::new(Shows(certified(chain, key)?)))
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err("cert_pem and key_pem: give both or none".into()),
        };
        config.alpn_protocols = probe
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        let tickets = Arc::new(Tickets::default());
        config.resumption = Resumption::store(tickets.clone());
        Ok(Self {
            config: Arc::new(config),
            verifier,
            tickets,
        })
    }
}

struct Run {
    report: Report,
    tally: Tally,
    kept: Vec<u8>,
}

impl Run {
    async fn attempt(&mut self, probe: &Probe, session: &Session, name: ServerName<'static>) {
        let Some(stream) = self.connect(&probe.address).await else {
            return;
        };
        self.report.connected = true;
        let begun = Instant::now();
        let connector = TlsConnector::from(session.config.clone());
        let connected = connector.connect(name, stream).await;
        self.report.handshake_ns = begun.elapsed().as_nanos() as u64;
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => return self.broken(&error),
        };
        self.report.handshake = true;
        let (_, tls) = stream.get_ref();
        self.report.resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        self.report.version = tls.protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_2 => "1.2",
            _ => "1.3",
        });
        self.report.cipher = tls
            .negotiated_cipher_suite()
            .map(|s| format!("{:?}", s.suite()));
        self.report.alpn = tls
            .alpn_protocol()
            .map(|p| String::from_utf8_lossy(p).into_owned());
        if let Err(error) = self.converse(probe, stream).await {
            match error {
                Error::Io(error) => self.broken(&error),
                error @ (Error::Closed | Error::Truncated(_)) => {
                    self.report.end = Some("close_notify");
                    self.fail("eof", &error);
                }
                error => self.fail("malformed", &error),
            }
        }
    }

    async fn connect(&mut self, address: &str) -> Option<TcpStream> {
        let found = match tokio::net::lookup_host(address).await {
            Ok(mut addresses) => addresses.next(),
            Err(error) => {
                self.fail("dns", &error);
                return None;
            }
        };
        match TcpStream::connect(found?).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.fail(kind_of(error.kind()), &error);
                None
            }
        }
    }

    async fn converse(
        &mut self,
        probe: &Probe,
        mut stream: TlsStream<TcpStream>,
    ) -> Result<(), Error> {
        if let Some(header) = &probe.transport_header {
            stream.write_all(&header.render()).await?;
            stream.flush().await?;
        }
        match &probe.send {
            Send::Nothing => self.read(probe, stream).await,
            Send::Raw { hex } => {
                let bytes = unhex(hex).ok_or_else(|| Error::Malformed("send.hex".into()))?;
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                self.read(probe, stream).await
            }
            Send::H1(request) => self.h1(probe, request, stream).await,
            Send::H2(request) => self.h2(probe, request, stream).await,
        }
    }

    /// Reads until the server ends.
    async fn read(&mut self, probe: &Probe, mut stream: TlsStream<TcpStream>) -> Result<(), Error> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match stream.read(&mut buffer).await? {
                0 => {
                    self.report.end = Some("close_notify");
                    return Ok(());
                }
                count => self.keep(probe, &buffer[..count]),
            }
        }
    }

    async fn h1(
        &mut self,
        probe: &Probe,
        request: &HttpRequest,
        mut stream: TlsStream<TcpStream>,
    ) -> Result<(), Error> {
        let mut fields = vec![("Host".to_owned(), request.authority.clone())];
        fields.extend(request.headers.iter().cloned());
        fields.push(("Connection".to_owned(), "close".to_owned()));
        let body = request.body()?;
        if let Some(body) = &body {
            fields.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        let start = format!("{} {} HTTP/1.1", request.method, request.path);
        stream.write_all(&head::render(&start, &fields)).await?;
        stream.write_all(&body.unwrap_or_default()).await?;
        stream.flush().await?;
        let mut inbound = Inbound::new(stream, BytesMut::new());
        let head = Head::parse(&inbound.head().await?)?;
        let (minor, status) = head.response_status()?;
        self.report.status = Some(status);
        let framing = Framing::of_response(&head.fields, minor, &request.method, status)?;
        self.report.headers = head.fields;
        let mut reader = Reader::new(framing);
        while let Some(piece) = reader.next(&mut inbound).await? {
            self.keep(probe, &piece);
        }
        Ok(())
    }

    async fn h2(
        &mut self,
        probe: &Probe,
        request: &HttpRequest,
        stream: TlsStream<TcpStream>,
    ) -> Result<(), Error> {
        let uri = format!("https://{}{}", request.authority, request.path);
        let mut message = http::Request::builder()
            .method(request.method.as_str())
            .uri(uri)
            .version(http::Version::HTTP_2)
            .body(())
            .map_err(|error| Error::Malformed(error.to_string()))?;
        *message.headers_mut() = h2io::map(&request.headers).map_err(Error::Malformed)?;
        let body = request.body()?;
        let (sender, connection) = h2::client::handshake(stream).await.map_err(io)?;
        tokio::pin!(connection);
        let exchange = async {
            let mut sender = sender.ready().await?;
            let (response, mut stream) = sender.send_request(message, body.is_none())?;
            if let Some(body) = body {
                h2io::send(&mut stream, body).await?;
                stream.send_data(Bytes::new(), true)?;
            }
            let (parts, mut body) = response.await?.into_parts();
            self.report.status = Some(parts.status.as_u16());
            self.report.headers = h2io::fields(&parts.headers);
            while let Some(piece) = h2io::receive(&mut body).await.transpose()? {
                self.keep(probe, &piece);
            }
            self.report.trailers = h2io::trailers(&mut body).await?;
            Ok::<(), h2::Error>(())
        };
        tokio::pin!(exchange);
        let mut ended = None;
        loop {
            tokio::select! {
                biased;
                result = &mut exchange => {
                    // The connection knows the alert of which its streams only know that it ended.
                    return match (result, ended) {
                        (Err(_), Some(Err(error))) | (Err(error), _) => Err(io(error)),
                        (Ok(()), _) => Ok(()),
                    };
                }
                result = &mut connection, if ended.is_none() => ended = Some(result),
            }
        }
    }

    fn keep(&mut self, probe: &Probe, piece: &[u8]) {
        self.tally.add(piece);
        let room = probe.keep_bytes.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn broken(&mut self, error: &std::io::Error) {
        self.report.alert = alert_of(error);
        let tls = error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>());
        let kind = if tls { "tls" } else { kind_of(error.kind()) };
        self.report.end = match kind {
            _ if self.report.alert.is_some() => Some("alert"),
            "eof" => Some("fin"),
            "reset" => Some("reset"),
            _ => None,
        };
        self.fail(kind, error);
    }

    fn fail(&mut self, kind: &str, error: &dyn std::fmt::Display) {
        self.report.error = Some(kind.to_owned());
        self.report.message = error.to_string();
    }
}

fn io(error: h2::Error) -> Error {
    match error.is_io() {
        true => Error::Io(
            error
                .into_io()
                .unwrap_or_else(|| std::io::ErrorKind::Other.into()),
        ),
        false => Error::Malformed(format!("h2: {error}")),
    }
}

/// A session store that counts tickets.
#[derive(Debug)]
struct Tickets {
    received: AtomicU64,
    store: ClientSessionMemoryCache,
}

impl Default for Tickets {
    fn default() -> Self {
        // One server per session; two tickets are what rustls sends.
        Self {
            received: AtomicU64::new(0),
            store: ClientSessionMemoryCache::new(16),
        }
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.store.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.store.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.store.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.store.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.store.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.take_tls13_ticket(name)
    }
}

fn newest() -> Vec<String> {
    vec!["1.3".to_owned()]
}

fn five() -> f64 {
    5.0
}

fn kept() -> usize {
    4096
}
