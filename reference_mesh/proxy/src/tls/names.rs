//! Identities in certificates.

use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::Id;
use crate::mutants::{self, Mutant};

/// The identity of a peer: the first SAN of its leaf that is a DNS name or a SPIFFE URI.
///
/// The chain must have been verified before. None when the peer showed no certificate or one
/// without such a name.
#[must_use]
pub fn peer_id(chain: &[CertificateDer<'_>]) -> Option<Id> {
    let id = ids(chain.first()?).into_iter().next();
    if mutants::active(Mutant::FirstClientForAll) {
        static FIRST: OnceLock<Option<Id>> = OnceLock::new();
        return FIRST.get_or_init(|| id).clone();
    }
    id
}

/// All identities of a certificate, in its own order. Names that are neither form are skipped:
/// wildcards, names with a trailing dot, other URIs.
pub(super) fn ids(leaf: &CertificateDer<'_>) -> Vec<Id> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let Ok(Some(sans)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    sans.value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Id::parse_dns(name).ok(),
            GeneralName::URI(uri) => Id::parse_uri(uri).ok(),
            _ => None,
        })
        .collect()
}
