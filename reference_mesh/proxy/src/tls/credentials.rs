//! The key, the certificate and the anchors of this workload, and the TLS configurations made of
//! them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    ServerConfig,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::sync::watch;

use super::names::ids;
use super::provider::provider;
use super::verify::{ClientVerifier, ServerIdVerifier};
use crate::identity::Id;
use crate::mutants::{self, Mutant};

/// Protocol that a client offers when it will send a transport header.
pub const TRANSPORT_HEADER_ALPN: &[u8] = b"transport.l5d.io/v1";

/// Client configurations kept per certificate. Each is under 1 KiB; a proxy that talks to more
/// identities than this makes the configuration anew.
const MAX_CACHED_CLIENTS: usize = 1024;

/// What this workload is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalName {
    /// The identity in its certificate.
    pub id: Id,
    /// The SNI that peers send to it.
    pub server_name: Arc<str>,
}

/// What a client offers to the server's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAlpn {
    /// Nothing.
    None,
    /// [`TRANSPORT_HEADER_ALPN`].
    TransportHeader,
}

/// The workload's TLS material. Cheap to clone; all clones see a rotation at once.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

/// Why credentials cannot be made or renewed.
#[derive(Debug, Error)]
pub enum Error {
    /// The trust anchors hold no certificate, or one that does not parse.
    #[error("trust anchors: {0}")]
    TrustAnchors(String),
    /// The key does not parse.
    #[error("private key: {0}")]
    Key(rustls::Error),
    /// The certificate does not belong to the key.
    #[error("the certificate is for another key")]
    OtherKey,
    /// The certificate does not name this workload.
    #[error("the certificate names {found:?}, not {wanted}")]
    OtherName {
        /// The SANs found.
        found: Vec<String>,
        /// This workload.
        wanted: Id,
    },
    /// The certificate does not lead to a trust anchor, or not at this time.
    #[error("the certificate is not valid: {0}")]
    Invalid(rustls::Error),
    /// TLS refuses the combination.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

struct Inner {
    local: LocalName,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    key: PrivateKeyDer<'static>,
    current: ArcSwap<Current>,
    /// 0 until the first certificate, then how many there were.
    generation: watch::Sender<u64>,
}

/// Everything that belongs to one certificate.
struct Current {
    certificate: Option<Arc<CertifiedKey>>,
    expiry: Option<SystemTime>,
    server: Arc<ServerConfig>,
    direct_server: Arc<ServerConfig>,
    clients: Mutex<HashMap<(Id, ClientAlpn), Arc<ClientConfig>>>,
}

/// Hands out the one certificate, whatever the peer asks for.
#[derive(Debug)]
struct Only(Option<Arc<CertifiedKey>>);

/// Hands out the one certificate until it expires, then none. Nobody accepts one that is over, but
/// the identity controller, which takes clients without any, may issue the next.
#[derive(Debug)]
struct OnlyWhileValid {
    certificate: Option<Arc<CertifiedKey>>,
    expiry: Option<SystemTime>,
}

// === impl Credentials ===

impl Credentials {
    /// Credentials without a certificate yet: servers refuse handshakes, clients show none.
    ///
    /// # Errors
    /// When the anchors or the key do not parse.
    pub fn new(local: LocalName, anchors_pem: &str, key_pkcs8: Vec<u8>) -> Result<Self, Error> {
        let provider = provider();
        let roots = Arc::new(parse_anchors(anchors_pem)?);
        let key = PrivateKeyDer::Pkcs8(key_pkcs8.into());
        provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(Error::Key)?;
        let current = Current::new(&roots, &provider, None, None)?;
        Ok(Self(Arc::new(Inner {
            local,
            provider,
            roots,
            key,
            current: ArcSwap::from_pointee(current),
            generation: watch::Sender::new(0),
        })))
    }

    /// What this workload is called.
    #[must_use]
    pub fn local_name(&self) -> &LocalName {
        &self.0.local
    }

    /// Configuration of a server that is reached at the application's own port. Load it for each
    /// handshake: it changes when the certificate is renewed.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.0.current.load().server.clone()
    }

    /// Configuration of a server that is reached at the proxy's own port, where clients may choose
    /// [`TRANSPORT_HEADER_ALPN`].
    #[must_use]
    pub fn direct_server_config(&self) -> Arc<ServerConfig> {
        self.0.current.load().direct_server.clone()
    }

    /// Configuration of a client that accepts only a server with the identity `server_id`.
    #[must_use]
    pub fn client_config(&self, server_id: &Id, alpn: ClientAlpn) -> Arc<ClientConfig> {
        let current = self.0.current.load();
        let mut clients = current.clients.lock();
        let key = (server_id.clone(), alpn);
        if let Some(config) = clients.get(&key) {
            return config.clone();
        }
        if clients.len() >= MAX_CACHED_CLIENTS {
            clients.clear();
        }
        let config = Arc::new(self.0.new_client(&current, server_id, alpn));
        clients.insert(key, config.clone());
        config
    }

    /// Verifies a new certificate for this workload's key and puts it in place.
    ///
    /// # Errors
    /// When it is for another key or name, or not valid now; the old one then stays.
    pub fn renew(
        &self,
        chain: Vec<CertificateDer<'static>>,
        expiry: SystemTime,
    ) -> Result<(), Error> {
        self.0.check_chain(&chain)?;
        self.install(chain, expiry)
    }

    /// Puts a certificate in place that [`Self::renew`] may refuse.
    #[cfg(test)]
    pub(crate) fn install_unchecked(
        &self,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<(), Error> {
        self.install(
            chain,
            SystemTime::now() + std::time::Duration::from_secs(3600),
        )
    }

    fn install(
        &self,
        chain: Vec<CertificateDer<'static>>,
        expiry: SystemTime,
    ) -> Result<(), Error> {
        let inner = &self.0;
        let certificate = CertifiedKey::from_der(chain, inner.key.clone_key(), &inner.provider)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => Error::OtherKey,
                error => Error::Tls(error),
            })?;
        let certificate = Some(Arc::new(certificate));
        let current = Current::new(&inner.roots, &inner.provider, certificate, Some(expiry))?;
        inner.current.store(Arc::new(current));
        inner.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// How many certificates there were; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        *self.0.generation.borrow()
    }

    /// What peers are shown: the workload's certificate, then its issuers; empty before the first.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let current = self.0.current.load();
        current
            .certificate
            .as_ref()
            .map(|certified| certified.cert.clone())
            .unwrap_or_default()
    }

    /// End of the current certificate's life.
    #[must_use]
    pub fn expiry(&self) -> Option<SystemTime> {
        self.0.current.load().expiry
    }

    /// Returns once there is a certificate.
    pub async fn ready(&self) {
        let mut generation = self.0.generation.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = generation.wait_for(|count| *count > 0).await;
    }

    /// Wakes whenever the certificate changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("local", &self.0.local)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn check_chain(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let empty = CertificateDer::from(&[][..]);
        let (leaf, intermediates) = chain.split_first().unwrap_or((&empty, &[]));
        let parsed = ParsedCertificate::try_from(leaf).map_err(Error::Invalid)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            UnixTime::now(),
            self.provider.signature_verification_algorithms.all,
        )
        .map_err(Error::Invalid)?;
        let found = ids(leaf);
        if found.contains(&self.local.id) {
            return Ok(());
        }
        Err(Error::OtherName {
            found: found.iter().map(ToString::to_string).collect(),
            wanted: self.local.id.clone(),
        })
    }

    fn new_client(&self, current: &Current, server_id: &Id, alpn: ClientAlpn) -> ClientConfig {
        let verifier =
            ServerIdVerifier::new(self.roots.clone(), self.provider.clone(), server_id.clone());
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            // The provider has TLS 1.3 suites, which is all that this checks.
            .expect("the provider speaks TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(OnlyWhileValid {
                certificate: current.certificate.clone(),
                expiry: current.expiry,
            }));
        config.resumption = Resumption::disabled();
        config.alpn_protocols = match alpn {
            ClientAlpn::None => Vec::new(),
            ClientAlpn::TransportHeader => vec![TRANSPORT_HEADER_ALPN.to_vec()],
        };
        config
    }
}

// === impl Current ===

impl Current {
    fn new(
        roots: &Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        certificate: Option<Arc<CertifiedKey>>,
        expiry: Option<SystemTime>,
    ) -> Result<Self, Error> {
        let verifier = ClientVerifier::new(roots.clone(), provider.clone())
            .map_err(|error| Error::TrustAnchors(error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Only(certificate.clone())));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        if mutants::active(Mutant::ResumesUnverified) {
            server.ticketer = Arc::new(OpenTickets);
            server.send_tls13_tickets = 2;
        }
        let mut direct = server.clone();
        direct.alpn_protocols = vec![TRANSPORT_HEADER_ALPN.to_vec()];
        Ok(Self {
            certificate,
            expiry,
            server: Arc::new(server),
            direct_server: Arc::new(direct),
            clients: Mutex::default(),
        })
    }
}

// === impl Only ===

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

// === impl OnlyWhileValid ===

impl ResolvesClientCert for OnlyWhileValid {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let is_over = self.expiry.is_some_and(|end| end <= SystemTime::now());
        let shown = !is_over || mutants::active(Mutant::AcceptExpired);
        self.certificate.clone().filter(|_| shown)
    }

    fn has_certs(&self) -> bool {
        self.certificate.is_some()
    }
}

fn parse_anchors(pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Error::TrustAnchors(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| Error::TrustAnchors(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(Error::TrustAnchors(
            "no certificate in the PEM text".to_owned(),
        ));
    }
    Ok(roots)
}

// === mutants ===

/// Tickets that any proxy takes, whatever has become of what the session was made with.
#[derive(Debug)]
struct OpenTickets;

impl ProducesTickets for OpenTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(plain.to_vec())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        Some(ticket.to_vec())
    }
}
