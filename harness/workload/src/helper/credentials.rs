//! Certificates that a rogue peer shows, and verifiers that let everything pass and remember it.
//!
//! Nothing here checks what it is given: a key that does not fit its certificate, an expired or
//! foreign certificate and an empty chain are exactly what checks want to present.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

/// A certificate chain and a key from PEM; they need not fit each other.
pub fn certified(chain_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>, String> {
    let chain = certificates("cert_pem", chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| format!("key_pem: {error}"))?;
    let key =
        aws_lc_rs::sign::any_supported_type(&key).map_err(|error| format!("key_pem: {error}"))?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// The certificates of a PEM text; at least one.
pub fn certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{what}: {error}"))?;
    if chain.is_empty() {
        Err(format!("{what}: no certificate in it"))
    } else {
        Ok(chain)
    }
}

/// TLS versions by name: `1.2`, `1.3`.
pub fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    names
        .iter()
        .map(|name| match name.as_str() {
            "1.2" => Ok(&rustls::version::TLS12),
            "1.3" => Ok(&rustls::version::TLS13),
            other => Err(format!("versions: {other:?} is neither 1.2 nor 1.3")),
        })
        .collect()
}

/// The cryptography behind every rogue peer.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Certificates as base64 of their DER, leaf first.
pub fn encoded(chain: &[CertificateDer<'_>]) -> Vec<String> {
    chain
        .iter()
        .map(|certificate| STANDARD.encode(certificate))
        .collect()
}

/// Shows one certificate whatever the server asks for.
#[derive(Debug)]
pub struct Shows(pub Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What a peer showed, and what an honest verifier would have said.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Base64 of the DER, leaf first.
    pub chain: Vec<String>,
    /// Why the chain does not lead from the roots to the name; `None` when it does, or when no
    /// roots were given.
    pub verify_error: Option<String>,
}

/// Accepts every peer.
#[derive(Debug)]
pub struct Credulous {
    provider: Arc<CryptoProvider>,
    honest: Option<Arc<WebPkiServerVerifier>>,
    shown: Mutex<Shown>,
}

impl Credulous {
    /// A verifier that notes what one with these roots would have said.
    pub fn new(roots_pem: Option<&str>) -> Result<Arc<Self>, String> {
        let honest = match roots_pem {
            None => None,
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for root in certificates("roots_pem", pem)? {
                    roots
                        .add(root)
                        .map_err(|error| format!("roots_pem: {error}"))?;
                }
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
                Some(
                    builder
                        .build()
                        .map_err(|error| format!("roots_pem: {error}"))?,
                )
            }
        };
        Ok(Arc::new(Self {
            provider: provider(),
            honest,
            shown: Mutex::default(),
        }))
    }

    /// What the last peer showed.
    pub fn shown(&self) -> Shown {
        self.shown.lock().clone()
    }

    /// Forgets the last peer.
    pub fn forget(&self) {
        *self.shown.lock() = Shown::default();
    }

    fn remember(&self, end: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Vec<String> {
        let mut chain = encoded(std::slice::from_ref(end));
        chain.extend(encoded(more));
        chain
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify_error = self.honest.as_ref().and_then(|honest| {
            honest
                .verify_server_cert(end, more, name, ocsp, now)
                .err()
                .map(|e| e.to_string())
        });
        *self.shown.lock() = Shown {
            chain: self.remember(end, more),
            verify_error,
        };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Credulous {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = self.remember(end, more);
        *self.shown.lock() = Shown {
            chain,
            verify_error: None,
        };
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Name of an alert as RFC 8446 spells it, when a TLS error says that the peer sent one.
pub fn alert_of(error: &std::io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(snake(&format!("{alert:?}"))),
        _ => None,
    }
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = c.is_ascii_lowercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_spelt_as_in_the_rfc() {
        let names = ["UnknownCA", "CertificateRequired", "AccessDenied"];
        let expected = ["unknown_ca", "certificate_required", "access_denied"];
        assert_eq!(names.map(snake), expected);
    }

    #[test]
    fn what_is_not_pem_is_named() {
        assert!(
            certificates("roots_pem", "nothing")
                .unwrap_err()
                .contains("roots_pem")
        );
        assert!(versions(&["1.1".to_owned()]).unwrap_err().contains("1.1"));
    }
}
