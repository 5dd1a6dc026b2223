//! Names that clients ask for, as labels say them.

use std::borrow::Cow;

use ::http::uri::Authority;
use rustls_pki_types::DnsName;

/// The port that goes without saying.
const HTTP_PORT: u16 = 80;

/// `host` in lower case; none when it is an address, or no DNS name.
#[must_use]
pub fn hostname(host: &str) -> Option<Cow<'_, str>> {
    DnsName::try_from(host).ok()?;
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    })
}

/// The host and port of `authority`; none when it names no host.
#[must_use]
pub fn host_and_port(authority: &Authority) -> Option<Cow<'_, str>> {
    let host = authority.host();
    let host = hostname(host.strip_suffix('.').unwrap_or(host))?;
    match authority.port_u16() {
        None | Some(HTTP_PORT) => Some(host),
        Some(port) => Some(format!("{host}:{port}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{host_and_port, hostname};
    use ::http::uri::Authority;
    use std::borrow::Cow;

    #[test]
    fn hosts_are_names_and_not_addresses() {
        assert_eq!(hostname("Web.Shop").as_deref(), Some("web.shop"));
        assert_eq!(hostname("web_1").as_deref(), Some("web_1"));
        for other in ["10.0.0.1", "[::1]", "", "a..b", "a!b", &"a".repeat(64)] {
            assert_eq!(hostname(other), None, "{other:?}");
        }
    }

    #[test]
    fn port_80_goes_without_saying() {
        let label = |text| {
            let authority = Authority::from_static(text);
            host_and_port(&authority).map(Cow::into_owned)
        };
        assert_eq!(label("Web:80").as_deref(), Some("web"));
        assert_eq!(label("web.").as_deref(), Some("web"));
        assert_eq!(label("u:p@web:8080").as_deref(), Some("web:8080"));
        assert_eq!(label("10.0.0.1:80"), None);
    }
}
