//! Rendering of label sets, in the order and with the quirks of linkerd2-proxy.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use crate::discovery::Labels;
use crate::mutants::{self, Mutant};
use crate::policy::Meta;
use crate::tls::{InboundTls, OutboundTls};

/// Labels as they are written between the braces, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSet(String);

// === impl LabelSet ===

impl LabelSet {
    /// No labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a label. The key must be a valid label name.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.push("", key, value);
        self
    }

    /// The text between the braces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn target(self, addr: SocketAddr) -> Self {
        self.with("target_addr", addr)
            .with("target_ip", addr.ip())
            .with("target_port", addr.port())
    }

    pub(super) fn inbound_tls(self, tls: &InboundTls) -> Self {
        match tls {
            InboundTls::Established { client_id } => self
                .with("tls", "true")
                .with("client_id", client_id.as_ref().map_or("", |id| id.as_str())),
            InboundTls::Opaque { sni } => self.with("tls", "opaque").with("sni", sni),
            InboundTls::None(_) if mutants::active(Mutant::WrongTlsLabel) => {
                self.with("tls", "true").with("client_id", "")
            }
            InboundTls::None(why) => self.no_tls(why.reason()),
        }
    }

    pub(super) fn outbound_tls(self, tls: &OutboundTls) -> Self {
        match tls {
            OutboundTls::Established { server_id } => {
                self.with("tls", "true").with("server_id", server_id)
            }
            OutboundTls::None(_) if mutants::active(Mutant::WrongTlsLabel) => {
                self.with("tls", "true").with("server_id", "")
            }
            OutboundTls::None(why) => self.no_tls(why.reason()),
        }
    }

    pub(super) fn no_tls(self, reason: &str) -> Self {
        self.with("tls", "no_identity")
            .with("no_tls_reason", reason)
    }

    pub(super) fn server(self, server: &Meta, port: u16) -> Self {
        self.short("srv", server).with("srv_port", port)
    }

    /// `{prefix}_group`, `_kind`, `_name`.
    pub(super) fn short(mut self, prefix: &str, meta: &Meta) -> Self {
        self.push(prefix, "group", meta.group());
        self.push(prefix, "kind", meta.kind());
        self.push(prefix, "name", meta.name());
        self
    }

    /// `{prefix}_group`, `_kind`, `_namespace`, `_name`.
    pub(super) fn route(mut self, prefix: &str, meta: &Meta) -> Self {
        self.push(prefix, "group", meta.group());
        self.push(prefix, "kind", meta.kind());
        self.push(prefix, "namespace", meta.namespace());
        self.push(prefix, "name", meta.name());
        self
    }

    /// As [`Self::route`], and `_port`, `_section_name`.
    pub(super) fn resource(self, prefix: &str, meta: &Meta) -> Self {
        let mut labels = self.route(prefix, meta);
        match meta.port() {
            Some(port) => labels.push(prefix, "port", port),
            None => labels.push(prefix, "port", ""),
        }
        labels.push(prefix, "section_name", meta.section());
        labels
    }

    /// The control plane's labels of an endpoint, as `dst_*`.
    pub(super) fn dst(mut self, labels: &Labels) -> Self {
        for (key, value) in labels.iter() {
            self.push("dst", key, value);
        }
        self
    }

    fn push(&mut self, prefix: &str, key: &str, value: impl Display) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        if !prefix.is_empty() {
            self.0.push_str(prefix);
            self.0.push('_');
        }
        // Keys from the control plane are Kubernetes label-like; a metric's are not as free.
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.0
            .extend(key.chars().map(|c| if valid(c) { c } else { '_' }));
        self.0.push_str("=\"");
        // Writing to a string cannot fail.
        let _ = write!(Escape(&mut self.0), "{value}");
        self.0.push('"');
    }
}

/// Escapes a label value as the Prometheus text format asks.
struct Escape<'a>(&'a mut String);

impl std::fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::LabelSet;
    use crate::policy::Meta;

    #[test]
    fn values_are_escaped_and_keys_made_valid() {
        let labels = LabelSet::new().with("a.b/c", "x\"y\\z\n").with("n", 1);
        assert_eq!(labels.as_str(), r#"a_b_c="x\"y\\z\n",n="1""#);
    }

    #[test]
    fn a_default_resource_has_empty_parts() {
        let labels = LabelSet::new().resource("parent", &Meta::Default("fallback".into()));
        assert_eq!(
            labels.as_str(),
            "parent_group=\"\",parent_kind=\"default\",parent_namespace=\"\",\
             parent_name=\"fallback\",parent_port=\"\",parent_section_name=\"\""
        );
    }
}
