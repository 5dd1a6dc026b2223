//! Certificate authorities for tests.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;

use super::{Credentials, LocalName};
use crate::identity::Id;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub(crate) pem: String,
}

/// When a certificate is valid, relative to now.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Over,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with_algorithm(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn with_algorithm(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).expect("key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "root.linkerd.cluster.local");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("self-signed").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for `key`, with these names.
    pub(crate) fn issue(
        &self,
        key: &KeyPair,
        names: &[&str],
        validity: Validity,
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let hour = Duration::from_secs(3600);
        let now = SystemTime::now();
        let (from, to) = match validity {
            Validity::Now => (now - hour, now + hour),
            Validity::Over => (now - 2 * hour, now - hour),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        params
            .signed_by(key, &self.issuer)
            .expect("signed")
            .der()
            .clone()
    }

    /// Credentials that trust this authority, with a certificate of `issuer` for `names`; the first
    /// is its own.
    pub(crate) fn credentials_from(
        &self,
        issuer: &Self,
        names: &[&str],
        validity: Validity,
    ) -> Credentials {
        let (credentials, key) = self.uncertified(names[0]);
        let chain = vec![issuer.issue(&key, names, validity)];
        credentials.install_unchecked(chain).expect("installed");
        credentials
    }

    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        self.credentials_from(self, &[name], Validity::Now)
    }

    /// Credentials without a certificate, and their key.
    pub(crate) fn uncertified(&self, name: &str) -> (Credentials, KeyPair) {
        let key = KeyPair::generate().expect("key");
        let local = LocalName {
            id: Id::parse(name).expect("valid"),
            server_name: name.into(),
        };
        let credentials = Credentials::new(local, &self.pem, key.serialize_der());
        (credentials.expect("valid"), key)
    }
}

fn san(name: &str) -> SanType {
    let text = name.to_owned().try_into().expect("ASCII");
    if name.contains("://") {
        SanType::URI(text)
    } else {
        SanType::DnsName(text)
    }
}
