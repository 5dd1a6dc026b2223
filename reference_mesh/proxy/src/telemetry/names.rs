//! Names that clients ask for, as labels say them.

use std::borrow::Cow;

use rustls_pki_types::DnsName;

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

#[cfg(test)]
mod tests {
    use super::hostname;
    #[test]
    fn hosts_are_names_and_not_addresses() {
        assert_eq!(hostname("Web.Shop").as_deref(), Some("web.shop"));
        assert_eq!(hostname("web_1").as_deref(), Some("web_1"));
        for other in ["10.0.0.1", "[::1]", "", "a..b", "a!b", &"a".repeat(64)] {
            assert_eq!(hostname(other), None, "{other:?}");
        }
    }
}
