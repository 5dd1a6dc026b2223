//! One attempt to reach a control-plane component.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use crate::config::ControlAddr;
use crate::identity::Id;
use crate::tls::{ClientAlpn, Credentials, NoOutboundTls, OutboundTls};

/// Limit of the TCP handshake with one address.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Limit of the TLS and HTTP/2 handshakes together.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// A peer that is gone is noticed by TCP, not by HTTP/2 pings: gRPC servers punish those.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// HTTP/2 window of each stream: one large endpoint update.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024 - 1;

/// Where a component is and how to be sure that it is it.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// The identity to ask for; none for plain text.
    pub(super) tls: Option<(Id, ServerName<'static>)>,
}

/// Why a component cannot be reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address needs a name that is missing or no DNS name.
    #[error("{0}: a control-plane address that is not loopback needs a DNS name as its identity")]
    Name(String),
    /// No TCP connection.
    #[error("cannot connect to {0}: {1}")]
    Tcp(SocketAddr, io::Error),
    /// No TLS: not the wanted peer, or not our certificate.
    #[error("TLS with {0}: {1}")]
    Tls(SocketAddr, io::Error),
    /// No HTTP/2.
    #[error("HTTP/2 with {0}: {1}")]
    Http(SocketAddr, hyper::Error),
}

/// What reads and writes a connection. It ends when the connection does: lost, or left by all that
/// can call on it.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Target ===

impl Target {
    pub(super) fn new(addr: &ControlAddr) -> Result<Self, ConnectError> {
        let name = || ConnectError::Name(format!("{}:{}", addr.host, addr.port));
        let tls = match &addr.name {
            _ if addr.is_loopback() => None,
            None => return Err(name()),
            Some(text) => {
                let id = Id::parse_dns(text).map_err(|_| name())?;
                let sni =
                    ServerName::try_from(text.clone()).map_err(|_: InvalidDnsNameError| name())?;
                Some((id, sni))
            }
        };
        Ok(Self {
            host: addr.host.clone(),
            port: addr.port,
            tls,
        })
    }

    /// As metrics label it.
    pub(super) fn tls_label(&self) -> OutboundTls {
        match &self.tls {
            Some((id, _)) => OutboundTls::Established {
                server_id: id.clone(),
            },
            None => OutboundTls::None(NoOutboundTls::Loopback),
        }
    }

    /// Connects to the replica at `address`.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        credentials: &Credentials,
    ) -> Result<(SendRequest<Body>, Driver), ConnectError> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
        let stream = stream
            .unwrap_or_else(|_| Err(late()))
            .and_then(tuned)
            .map_err(|error| ConnectError::Tcp(address, error))?;
        let Some((id, sni)) = &self.tls else {
            return handshake(address, stream).await;
        };
        let connector = TlsConnector::from(credentials.client_config(id, ClientAlpn::None));
        let tls = timeout(HANDSHAKE_LIMIT, connector.connect(sni.clone(), stream)).await;
        let tls = tls
            .unwrap_or_else(|_| Err(late()))
            .map_err(|error| ConnectError::Tls(address, error))?;
        handshake(address, tls).await
    }
}

async fn handshake<S>(
    address: SocketAddr,
    stream: S,
) -> Result<(SendRequest<Body>, Driver), ConnectError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (send, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::Http(address, error))?;
    let driver = async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "control connection ended");
        }
    };
    Ok((send, Box::pin(driver)))
}

fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::{ConnectError, Target};
    use crate::config::ControlAddr;
    use crate::identity::Id;
    use crate::tls::Credentials;
    use crate::tls::test_pki::Authority;
    use rustls::pki_types::ServerName;
    use std::net::SocketAddr;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use tokio_rustls::TlsAcceptor;

    const POLICY: &str = "policy.linkerd.serviceaccount.identity.linkerd.cluster.local";

    fn addr(host: &str, name: Option<&str>) -> ControlAddr {
        ControlAddr {
            host: host.to_owned(),
            port: 8090,
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn only_loopback_is_plain_text() {
        assert!(
            Target::new(&addr("127.0.0.1", Some(POLICY)))
                .expect("fine")
                .tls
                .is_none()
        );
        assert!(
            Target::new(&addr("localhost", None))
                .expect("fine")
                .tls
                .is_none()
        );
        let (id, _) = Target::new(&addr("10.0.0.1", Some(POLICY)))
            .expect("fine")
            .tls
            .expect("TLS");
        assert_eq!(id.as_str(), POLICY);
        for name in [None, Some("not a name")] {
            assert!(matches!(
                Target::new(&addr("10.0.0.1", name)),
                Err(ConnectError::Name(_))
            ));
        }
    }

    /// Connects to a server that shows the identity `shown`, wanting `POLICY`.
    async fn connect(client: &Credentials, server: Credentials) -> Result<(), ConnectError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepted");
            // Kept open, so that the client's verdict is about TLS alone.
            let _stream = TlsAcceptor::from(server.server_config())
                .accept(stream)
                .await;
            std::future::pending::<()>().await;
        });
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port,
            tls: Some((
                Id::parse(POLICY).expect("valid"),
                ServerName::try_from(POLICY).expect("valid"),
            )),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        target.connect(address, client).await.map(drop)
    }

    #[tokio::test]
    async fn the_peer_must_be_the_component() {
        let authority = Authority::new();
        let client = authority.credentials("web.ns");
        connect(&client, authority.credentials(POLICY))
            .await
            .expect("connected");
        let result = connect(&client, authority.credentials("other.ns")).await;
        assert!(matches!(result, Err(ConnectError::Tls(..))), "{result:?}");
        let result = connect(&client, Authority::new().credentials(POLICY)).await;
        assert!(matches!(result, Err(ConnectError::Tls(..))), "{result:?}");
    }
}
