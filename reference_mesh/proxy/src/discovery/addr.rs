//! What can be looked up: an address that is dialled, or a name that a request says.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::uri::Authority;
use rustls::pki_types::DnsName;

/// The port of a name that says none.
const DEFAULT_PORT: u16 = 80;

/// What a look-up is of. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// An address.
    Socket(SocketAddr),
    /// A name and a port.
    Name(NameAddr),
}

/// `host:port`, in lower case and without the dot that may end a name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameAddr {
    text: Arc<str>,
    port: u16,
}

/// Names that end with it, label by label; the root's is that of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix(Option<String>);

// === impl Addr ===

impl Addr {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(addr) => addr.port(),
            Self::Name(name) => name.port,
        }
    }

    /// The address; none for a name.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(addr) => Some(*addr),
            Self::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Socket(addr)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(addr) => addr.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

// === impl NameAddr ===

impl NameAddr {
    /// The name in `host[:port]`; none when the host is no DNS name, as an address is not, or the
    /// port is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let port = match authority.port_u16() {
            Some(port) => Some(port).filter(|port| *port != 0)?,
            None if authority.as_str().ends_with(authority.host()) => DEFAULT_PORT,
            None => return None,
        };
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        if host.ends_with('.') || DnsName::try_from(host).is_err() {
            return None;
        }
        Some(Self {
            text: format!("{host}:{port}").into(),
            port,
        })
    }

    /// Why requests to it fail while the control plane does not know it.
    pub(crate) fn undiscovered(&self) -> Arc<str> {
        format!("ingress-mode routing requires discovery: {self}").into()
    }

    fn host(&self) -> &str {
        self.text.rsplit_once(':').map_or("", |(host, _)| host)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

// === impl Suffix ===

impl Suffix {
    /// Reads a name, or `.` for the root.
    ///
    /// # Errors
    /// Text that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "." {
            return Ok(Self(None));
        }
        if DnsName::try_from(text).is_err() {
            return Err(format!("{text:?} is neither a DNS name nor \".\""));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        Ok(Self(Some(name.to_ascii_lowercase())))
    }

    /// Whether `name` ends with it.
    #[must_use]
    pub fn covers(&self, name: &NameAddr) -> bool {
        let Some(suffix) = &self.0 else { return true };
        let rest = name.host().strip_suffix(suffix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::{NameAddr, Suffix};

    fn parsed(text: &str) -> Option<String> {
        NameAddr::parse(text).map(|name| name.to_string())
    }

    #[test]
    fn a_name_is_one_however_it_is_spelt() {
        for same in ["web.ns", "web.ns:80", "WEB.ns.:80", "web.ns.", "me@web.ns"] {
            assert_eq!(parsed(same).as_deref(), Some("web.ns:80"), "{same:?}");
        }
        assert_eq!(parsed("web.ns:8080").as_deref(), Some("web.ns:8080"));
    }

    #[test]
    fn what_is_no_name_and_port_is_refused() {
        for bad in [
            "",
            ".",
            ":80",
            "web.ns..",
            "web..ns",
            "web ns",
            "web.ns:0",
            "web.ns:65536",
            "web.ns:http",
            "web.ns:",
            "web.ns/path",
            "http://web.ns",
            "10.1.0.1:80",
            "[::1]:80",
            "-web.ns",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_suffix_covers_whole_labels() {
        let covers = |suffix: &str, name: &str| {
            let name = NameAddr::parse(name).expect("valid");
            Suffix::parse(suffix).expect("valid").covers(&name)
        };
        for suffix in ["svc.cluster.local.", "SVC.cluster.local"] {
            assert!(covers(suffix, "web.ns.svc.cluster.local"));
            assert!(covers(suffix, "svc.cluster.local"));
            assert!(!covers(suffix, "web.ns.mysvc.cluster.local"));
            assert!(!covers(suffix, "web.ns.svc.cluster.local.example.com"));
        }
        assert!(covers(".", "example.com"));
        assert!(Suffix::parse("no name").is_err());
    }
}
