//! Dialling: TCP, then mesh TLS where the endpoint has an identity, then the transport header.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Io;
use super::header::{Header, Kind};
use super::listen::{Options, configure};
use crate::discovery::Endpoint;
use crate::mutants::{self, Mutant};
use crate::tls::{ClientAlpn, Credentials, ServerTls, TRANSPORT_HEADER_ALPN};

/// Why an endpoint was not reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// It took too long.
    #[error("connect timed out after {0:?}")]
    Timeout(Duration),
    /// TCP or TLS failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// How to dial.
#[derive(Clone)]
pub struct Dialer {
    credentials: Credentials,
    timeout: Duration,
    options: Options,
}

// === impl Dialer ===

impl Dialer {
    /// Dials with these credentials and limits.
    #[must_use]
    pub fn new(credentials: Credentials, timeout: Duration, options: Options) -> Self {
        Self {
            credentials,
            timeout,
            options,
        }
    }

    /// The certificate generation that a connection made now would show.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.credentials.generation()
    }

    /// Reaches `addr` without TLS.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn tcp(&self, addr: SocketAddr) -> Result<TcpStream, ConnectError> {
        let connect = async {
            let tcp = TcpStream::connect(addr).await?;
            configure(&tcp, self.options)?;
            Ok::<_, io::Error>(tcp)
        };
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(tcp) => Ok(tcp?),
            Err(_) => Err(ConnectError::Timeout(self.timeout)),
        }
    }

    /// Reaches `endpoint` as it asks to be reached, for a session of `kind` (none is opaque).
    ///
    /// # Errors
    /// [`ConnectError`]; a TLS failure never falls back to plain text.
    pub async fn endpoint(
        &self,
        endpoint: &Endpoint,
        kind: Option<Kind>,
    ) -> Result<Io, ConnectError> {
        let meta = &endpoint.meta;
        let tls = meta
            .tls
            .as_ref()
            .filter(|_| !mutants::active(Mutant::PlaintextBetweenProxies));
        let Some(tls) = tls else {
            return Ok(Io::plain(self.tcp(endpoint.addr).await?));
        };
        let authority = meta.authority_override.as_deref();
        let (addr, alpn) = match meta.opaque_transport_port {
            Some(port) => (
                SocketAddr::new(endpoint.addr.ip(), port),
                ClientAlpn::TransportHeader,
            ),
            None if authority.is_some() => (endpoint.addr, ClientAlpn::TransportHeader),
            None => (endpoint.addr, ClientAlpn::None),
        };
        let wrong = u16::from(mutants::active(Mutant::RouteByWrongPort));
        let header = Header::new(endpoint.addr.port().wrapping_add(wrong), kind, authority);
        match self.tls(addr, tls, alpn, &header).await {
            Err(_) if mutants::active(Mutant::PlaintextFallback) => {
                Ok(Io::plain(self.tcp(endpoint.addr).await?))
            }
            reached => reached,
        }
    }

    async fn tls(
        &self,
        addr: SocketAddr,
        tls: &ServerTls,
        alpn: ClientAlpn,
        header: &Header,
    ) -> Result<Io, ConnectError> {
        let tcp = self.tcp(addr).await?;
        let config = self.credentials.client_config(&tls.id, alpn);
        let name = ServerName::try_from(tls.server_name.to_string())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let handshake = TlsConnector::from(config).connect(name, tcp);
        let stream = match tokio::time::timeout(self.timeout, handshake).await {
            Ok(stream) => stream?,
            Err(_) => return Err(ConnectError::Timeout(self.timeout)),
        };
        let agreed = stream.get_ref().1.alpn_protocol() == Some(TRANSPORT_HEADER_ALPN);
        let mut io = Io::client(stream);
        if agreed {
            io.write_all(&header.encode_framed()).await?;
        }
        Ok(io)
    }
}
