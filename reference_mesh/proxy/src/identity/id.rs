//! The two forms of workload identity that a certificate can carry.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A workload identity: a DNS name or a SPIFFE URI. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A DNS-like name, lower case, without a trailing dot.
    Dns(Arc<str>),
    /// A SPIFFE URI, as written.
    Uri(Arc<str>),
}

/// A text that is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a workload identity: {0:?}")]
pub struct InvalidId(String);

// === impl Id ===

impl Id {
    /// Reads either form; what starts with `spiffe://` is a URI.
    ///
    /// # Errors
    /// [`InvalidId`] when the text is neither a DNS name (RFC 1123 labels) nor a SPIFFE URI.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.starts_with("spiffe://") {
            return Self::parse_uri(text);
        }
        Self::parse_dns(text)
    }

    /// Reads a DNS name. One trailing dot (a fully qualified name) is not an identity.
    ///
    /// # Errors
    /// [`InvalidId`] when a label is empty, longer than 63 bytes, or has a byte outside `[a-z0-9-_]`.
    pub fn parse_dns(text: &str) -> Result<Self, InvalidId> {
        let label_is_valid = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > 253 || !text.split('.').all(label_is_valid) {
            return Err(InvalidId(text.to_owned()));
        }
        Ok(Self::Dns(text.to_ascii_lowercase().into()))
    }

    /// Reads a SPIFFE URI: `spiffe://trust-domain/path`, without query or fragment.
    ///
    /// # Errors
    /// [`InvalidId`] when the scheme differs, the trust domain is empty, or the text is over 2 KiB.
    pub fn parse_uri(text: &str) -> Result<Self, InvalidId> {
        let valid = text.len() <= 2048
            && text.strip_prefix("spiffe://").is_some_and(|rest| {
                let domain = rest.split('/').next().unwrap_or_default();
                !domain.is_empty()
                    && rest
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b"?#\"\\".contains(&b))
            });
        if valid {
            Ok(Self::Uri(text.into()))
        } else {
            Err(InvalidId(text.to_owned()))
        }
    }

    /// The identity as it is written in certificates, labels and headers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Uri(text) => text,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn dns_names_are_lowered_and_fqdn_dots_refused() {
        let id = Id::parse("Web.NS.serviceaccount.identity.linkerd.cluster.local").expect("valid");
        assert_eq!(
            id.as_str(),
            "web.ns.serviceaccount.identity.linkerd.cluster.local"
        );
        for bad in ["", ".", "a.", "a..b", "-a.b", "a b", &"x".repeat(64)] {
            assert!(Id::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn spiffe_uris_need_a_trust_domain() {
        assert!(Id::parse("spiffe://root.linkerd.cluster.local/ns/a/sa/b").is_ok());
        for bad in [
            "spiffe://",
            "spiffe:///x",
            "spiffe://d/p?q",
            "spiffe://d/a b",
        ] {
            assert!(Id::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
