//! Connections to the admin port.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::{Admin, text};
use crate::policy::inbound::{
    Authorization, Client, Http, Protocol, Route, ServerPolicy, authorize,
};
use crate::policy::matching;
use crate::telemetry::{
    InboundRequestLabels, InboundTarget, Open, Outcome, Telemetry, TransportLabels,
};
use crate::tls::{self, ClientHello, Credentials, InboundTls, NoInboundTls};

/// Connections at a time. Probes and scrapers are few; more is someone else.
const MAX_CONNECTIONS: usize = 256;
/// Longest wait for the first bytes, and for a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Age at which a connection ends after the requests under way, or before its first bytes tell the
/// version of HTTP. Those who come regularly connect again.
const LIFE_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for the requests under way then.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// Largest head, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// HTTP/2 streams of one connection at a time.
const MAX_STREAMS: u32 = 32;
/// Pause after an accept that failed, for lack of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin port needs besides its answers. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    /// The answers.
    pub admin: Admin,
    /// For mesh TLS.
    pub credentials: Credentials,
    /// Policy of the port.
    pub policy: watch::Receiver<Arc<ServerPolicy>>,
    /// For counting.
    pub telemetry: Telemetry,
}

/// A connection, as policy and metrics see it.
struct Peer {
    client: SocketAddr,
    target: SocketAddr,
    tls: InboundTls,
    server: Server,
}

/// Serves the port until dropped. It always accepts, so that nobody can keep the kubelet out: one
/// connection too many ends another one.
pub async fn serve(listener: TcpListener, server: Server) {
    let mut connections = JoinSet::new();
    let mut open = OpenConnections::default();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, client)) => {
                let server = server.clone();
                open.make_room();
                let task = connections.spawn(async move {
                    if let Err(error) = serve_connection(stream, client, server).await {
                        tracing::debug!(%client, %error, "admin connection failed");
                    }
                });
                open.0.push_back((client.ip(), task));
            }
            Err(error) => {
                tracing::warn!(%error, "admin port cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections, oldest first, and whose they are.
#[derive(Default)]
struct OpenConnections(VecDeque<(IpAddr, AbortHandle)>);

// === impl OpenConnections ===

impl OpenConnections {
    /// Ends one if there are too many: the oldest one of whoever has the most.
    fn make_room(&mut self) {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() < MAX_CONNECTIONS {
            return;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (client, _) in &self.0 {
            *counts.entry(*client).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let excess = |(client, _): &(IpAddr, _)| counts.get(client).copied() == most;
        if let Some((client, task)) = self
            .0
            .iter()
            .position(excess)
            .and_then(|i| self.0.remove(i))
        {
            tracing::debug!(%client, "too many admin connections; ended the oldest one");
            task.abort();
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    client: SocketAddr,
    server: Server,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let target = stream.local_addr()?;
    let mut buffer = vec![0; tls::MAX_CLIENT_HELLO_BYTES];
    let late = || io::Error::new(io::ErrorKind::TimedOut, "nothing was sent in time");
    let hello = timeout(HANDSHAKE_LIMIT, peek(&stream, &mut buffer))
        .await
        .map_err(|_| late())??;
    drop(buffer);
    let own_name = &*server.credentials.local_name().server_name;
    let terminate = matches!(&hello, ClientHello::Sni(Some(sni)) if sni == own_name);
    if !terminate {
        let why = if client.ip().to_canonical().is_loopback() {
            NoInboundTls::Loopback
        } else {
            NoInboundTls::NoTlsFromRemote
        };
        return Peer {
            client,
            target,
            tls: InboundTls::None(why),
            server,
        }
        .serve(stream)
        .await;
    }
    let acceptor = TlsAcceptor::from(server.credentials.server_config());
    let stream = timeout(HANDSHAKE_LIMIT, acceptor.accept(stream))
        .await
        .map_err(|_| late())??;
    let client_id = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(tls::peer_id);
    let tls = InboundTls::Established { client_id };
    Peer {
        client,
        target,
        tls,
        server,
    }
    .serve(stream)
    .await
}

/// Looks at the first bytes until they tell whether this is TLS.
async fn peek(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<ClientHello> {
    let mut seen = 0;
    loop {
        let count = stream.peek(buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match tls::peek(&buffer[..count]) {
            ClientHello::Incomplete if count > seen => seen = count,
            // Readable, but no more of it: peeking again at once would spin.
            ClientHello::Incomplete => sleep(Duration::from_millis(1)).await,
            hello => return Ok(hello),
        }
    }
}

// === impl Peer ===

impl Peer {
    async fn serve<S>(self, stream: S) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _open = self.count_connection();
        let peer = Arc::new(self);
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(MAX_HEAD_BYTES);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32);
        let service = service_fn(move |request| {
            let peer = peer.clone();
            async move { Ok::<_, std::convert::Infallible>(peer.answer(request).await) }
        });
        let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
        if let Ok(ended) = timeout(LIFE_LIMIT, served.as_mut()).await {
            return ended;
        }
        served.as_mut().graceful_shutdown();
        timeout(CLOSE_LIMIT, served).await?
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let policy = self.server.policy.borrow().clone();
        let Some(route) = find_route(&policy, &request) else {
            return text(StatusCode::NOT_FOUND, "no route\n");
        };
        let client = Client {
            ip: self.client.ip(),
            tls: self.tls.for_policy(),
        };
        let port = self.target.port();
        let target = InboundTarget {
            target: self.target,
            tls: &self.tls,
            server: &policy.meta,
            server_port: port,
        };
        let telemetry = &self.server.telemetry;
        let Some(authz) = authorize(route.authorizations, &client) else {
            telemetry.http_denied(target, route.meta).increment();
            return text(StatusCode::FORBIDDEN, "unauthorized\n");
        };
        telemetry
            .http_allowed(target, route.meta, &authz.meta)
            .increment();
        let requests = telemetry.inbound_requests(InboundRequestLabels {
            target: self.target,
            tls: &self.tls,
            server: &policy.meta,
            server_port: port,
            route: route.meta,
            authz: &authz.meta,
            authority: "",
        });
        requests.request();
        let response = self.server.admin.handle(request, self.client).await;
        requests.response(Outcome::http(response.status().as_u16()), started.elapsed());
        response
    }

    fn count_connection(&self) -> Open {
        let policy = self.server.policy.borrow().clone();
        let labels = TransportLabels::InboundAccept {
            target: self.target,
            tls: &self.tls,
            server: &policy.meta,
            server_port: self.target.port(),
        };
        self.server.telemetry.transport(labels).open()
    }
}

/// The parts of a route that matter here.
struct Chosen<'a> {
    meta: &'a crate::policy::Meta,
    authorizations: &'a [Authorization],
}

/// The route of a request. A port whose policy is not HTTP is judged by its connections' policy.
fn find_route<'a>(policy: &'a ServerPolicy, request: &Request<Incoming>) -> Option<Chosen<'a>> {
    let of = |route: &'a Route| Chosen {
        meta: &route.meta,
        authorizations: &route.authorizations,
    };
    let find = |http: &'a Http| {
        let host = request.uri().host().or_else(|| {
            let host = request.headers().get(http::header::HOST)?.to_str().ok()?;
            Some(host.rsplit_once(':').map_or(host, |(name, _)| name))
        });
        let request = matching::Request {
            host,
            uri: request.uri(),
            method: request.method(),
            headers: request.headers(),
        };
        http.find(&request).map(|(route, ..)| of(route))
    };
    match &policy.protocol {
        Protocol::Detect { http, .. }
        | Protocol::Http1(http)
        | Protocol::Http2(http)
        | Protocol::Grpc(http) => find(http),
        Protocol::Opaque | Protocol::Tls | Protocol::Invalid(_) => Some(Chosen {
            meta: &policy.meta,
            authorizations: &policy.authorizations,
        }),
    }
}

#[cfg(test)]
mod tests;
