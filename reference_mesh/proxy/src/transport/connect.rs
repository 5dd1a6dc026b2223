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
        let (addr, alpn) = match meta.opaque_transport_port {
            Some(port) => (
                SocketAddr::new(endpoint.addr.ip(), port),
                ClientAlpn::TransportHeader,
            ),
            None if meta.authority_override.is_some() => {
                (endpoint.addr, ClientAlpn::TransportHeader)
            }
            None => (endpoint.addr, ClientAlpn::None),
        };
        let mut header = header(endpoint, kind);
        header.port += i32::from(mutants::active(Mutant::RouteByWrongPort));
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

/// What is said to the endpoint's proxy: the application's port or, to a gateway, the service that it
/// is to route to, which takes a port to name one.
fn header(endpoint: &Endpoint, kind: Option<Kind>) -> Header {
    let gateway = endpoint.meta.authority_override.as_ref();
    match gateway.and_then(|service| Some((service.host(), service.port_u16()?))) {
        Some((name, port)) => Header::new(port, kind, Some(name)),
        None => Header::new(endpoint.addr.port(), kind, None),
    }
}

#[cfg(test)]
mod tests {
    use super::header;
    use crate::discovery::{Endpoint, EndpointMeta};
    use std::sync::Arc;

    #[test]
    fn a_gateway_is_told_the_service_and_its_port() {
        let told = |authority: &str| {
            let meta = EndpointMeta {
                authority_override: Some(authority.parse().expect("valid")),
                ..EndpointMeta::default()
            };
            let header = header(
                &Endpoint {
                    addr: "192.0.2.1:4143".parse().expect("valid"),
                    meta: Arc::new(meta),
                },
                None,
            );
            (header.name, header.port)
        };
        let service = "web.ns.svc.cluster.local";
        assert_eq!(told(&format!("{service}:80")), (service.to_owned(), 80));
        assert_eq!(told(service), (String::new(), 4143), "no port, no service");
    }
}
