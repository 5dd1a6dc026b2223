//! Request matching shared by inbound and outbound routes.
//!
//! The best match wins, not the first: host specificity, then the length of the matched path, then
//! the number of headers, query parameters and a method. Among equals the first in the list wins,
//! which is why the control plane sorts routes by age and name.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, Uri};

/// Condition on the host of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// This name, compared without case.
    Exact(Arc<str>),
    /// Any name below these labels, last label first (`*.a.b` is `[b, a]`).
    Suffix(Arc<[Arc<str>]>),
}

/// Condition on the path of a request.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole leading segments.
    Prefix(Arc<str>),
    /// A regular expression that must match the whole path.
    Regex(regex::Regex),
    /// A call (POST) of a gRPC service and method; an empty one matches any.
    Rpc {
        /// Full service name.
        service: Arc<str>,
        /// Method name.
        method: Arc<str>,
    },
}

/// Condition on a header or query value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// These bytes.
    Exact(Arc<[u8]>),
    /// A regular expression that must match the whole value.
    Regex(regex::Regex),
}

/// All conditions of one match; each must hold.
#[derive(Clone, Debug, Default)]
pub struct RequestMatch {
    /// Path; none matches all.
    pub path: Option<PathMatch>,
    /// Headers, each by one of its values.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// Query parameters.
    pub query: Vec<(Arc<str>, ValueMatch)>,
    /// Method; none matches all.
    pub method: Option<Method>,
}

/// How specific a match was; greater is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    host: HostSpecificity,
    path_len: usize,
    headers: usize,
    query: usize,
    method: bool,
}

/// How specific a host match was: no condition, a suffix by its labels, the exact name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostSpecificity {
    /// No condition.
    #[default]
    Any,
    /// A suffix of this many labels.
    Suffix(usize),
    /// The exact name.
    Exact,
}

/// The parts of a request that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Host without a port, from the authority or the `Host` header.
    pub host: Option<&'a str>,
    /// Path and query are used.
    pub uri: &'a Uri,
    /// Method.
    pub method: &'a Method,
    /// Headers.
    pub headers: &'a HeaderMap,
}

/// The best of the candidates; the first among equals.
pub(super) fn first_best<T>(
    candidates: impl Iterator<Item = (Specificity, T)>,
) -> Option<(Specificity, T)> {
    candidates.reduce(|best, next| if next.0 > best.0 { next } else { best })
}

/// How well the host matches the best of the conditions; none when it matches none of them.
pub(super) fn best_host(hosts: &[HostMatch], host: Option<&str>) -> Option<HostSpecificity> {
    if hosts.is_empty() {
        return Some(HostSpecificity::Any);
    }
    let host = host?;
    hosts
        .iter()
        .filter_map(|condition| condition.specificity(host))
        .max()
}

/// How well the request matches the best of the alternatives; none when it matches none of them.
pub(super) fn best_match(
    alternatives: &[RequestMatch],
    host: HostSpecificity,
    request: &Request<'_>,
) -> Option<Specificity> {
    if alternatives.is_empty() {
        return Some(Specificity::of_host(host));
    }
    alternatives
        .iter()
        .filter_map(|condition| condition.specificity(host, request))
        .max()
}

// === impl Specificity ===

impl Specificity {
    pub(super) fn of_host(host: HostSpecificity) -> Self {
        Self {
            host,
            ..Self::default()
        }
    }

    /// Bytes of the path that matched; what a redirect of the prefix replaces.
    #[must_use]
    pub const fn path_len(self) -> usize {
        self.path_len
    }
}

// === impl HostMatch ===

impl HostMatch {
    /// How well it matches, if it does.
    #[must_use]
    pub fn specificity(&self, host: &str) -> Option<HostSpecificity> {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Exact(name) => host
                .eq_ignore_ascii_case(name)
                .then_some(HostSpecificity::Exact),
            Self::Suffix(labels) => {
                let mut have = host.rsplit('.');
                let all = labels.iter().all(|label| {
                    have.next()
                        .is_some_and(|have| have.eq_ignore_ascii_case(label))
                });
                // The suffix itself is not below it.
                (all && have.next().is_some()).then_some(HostSpecificity::Suffix(labels.len()))
            }
        }
    }
}

// === impl RequestMatch ===

impl RequestMatch {
    fn specificity(&self, host: HostSpecificity, request: &Request<'_>) -> Option<Specificity> {
        if self
            .method
            .as_ref()
            .is_some_and(|method| method != request.method)
        {
            return None;
        }
        let path_len = match &self.path {
            None => 0,
            Some(PathMatch::Rpc { .. }) if request.method != Method::POST => return None,
            Some(path) => path.matched_len(request.uri.path())?,
        };
        let headers = self.headers.iter().all(|(name, wanted)| {
            request
                .headers
                .get_all(name)
                .iter()
                .any(|value| wanted.matches(value.as_bytes()))
        });
        let query = || {
            let text = request.uri.query().unwrap_or_default();
            self.query
                .iter()
                .all(|(name, wanted)| query_matches(text, name, wanted))
        };
        (headers && query()).then(|| Specificity {
            host,
            path_len,
            headers: self.headers.len(),
            query: self.query.len(),
            method: self.method.is_some(),
        })
    }
}

// === impl PathMatch ===

impl PathMatch {
    /// Bytes of the path that it covers, if it matches.
    fn matched_len(&self, path: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => (path == &**exact).then_some(path.len()),
            Self::Prefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                if prefix.is_empty() {
                    // Everything, also the targets that are no paths: `*`, and those of CONNECT.
                    // `/` covers one byte, so that it beats no path condition.
                    return Some(1);
                }
                let rest = path.strip_prefix(prefix)?;
                (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
            }
            Self::Regex(regex) => regex.is_match(path).then_some(path.len()),
            Self::Rpc { service, method } => {
                let (have_service, have_method) = path.strip_prefix('/')?.split_once('/')?;
                let agrees = |wanted: &str, have: &str| wanted.is_empty() || wanted == have;
                (agrees(service, have_service) && agrees(method, have_method))
                    .then_some(service.len() + method.len())
            }
        }
    }
}

// === impl ValueMatch ===

impl ValueMatch {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => **exact == *value,
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
        }
    }
}

/// Whether any parameter of that name has the wanted value, both decoded.
fn query_matches(query: &str, name: &str, wanted: &ValueMatch) -> bool {
    query.split('&').any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(key) == name.as_bytes() && wanted.matches(&decode(value))
    })
}

/// Undoes `application/x-www-form-urlencoded`; a broken escape stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match escaped(bytes.as_slice()) {
                Some(byte) => {
                    bytes.nth(1);
                    byte
                }
                None => b'%',
            },
            byte => byte,
        });
    }
    decoded
}

fn escaped(rest: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (high, low) = (digit(*rest.first()?)?, digit(*rest.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::{HostMatch, HostSpecificity, PathMatch, ValueMatch, decode, query_matches};

    #[test]
    fn a_suffix_is_labels_not_letters() {
        let suffix = HostMatch::Suffix(["com".into(), "example".into()].into());
        for (host, wanted) in [
            ("web.example.com", true),
            ("A.B.EXAMPLE.com.", true),
            ("example.com", false),
            ("badexample.com", false),
        ] {
            assert_eq!(suffix.specificity(host).is_some(), wanted, "{host}");
        }
        let exact = HostMatch::Exact("example.com".into());
        assert_eq!(
            exact.specificity("Example.com"),
            Some(HostSpecificity::Exact)
        );
    }

    #[test]
    fn a_prefix_is_segments_not_letters() {
        let prefix = PathMatch::Prefix("/api/".into());
        for (path, wanted) in [
            ("/api", Some(4)),
            ("/api/x", Some(4)),
            ("/apis", None),
            ("/", None),
        ] {
            assert_eq!(prefix.matched_len(path), wanted, "{path}");
        }
        for path in ["/x", "*", ""] {
            assert_eq!(PathMatch::Prefix("/".into()).matched_len(path), Some(1));
        }
    }

    #[test]
    fn an_rpc_may_leave_out_either_part() {
        let any_method = PathMatch::Rpc {
            service: "a.B".into(),
            method: "".into(),
        };
        assert_eq!(any_method.matched_len("/a.B/C"), Some(3));
        assert_eq!(any_method.matched_len("/a.BB/C"), None);
        let any_service = PathMatch::Rpc {
            service: "".into(),
            method: "C".into(),
        };
        assert_eq!(any_service.matched_len("/a.B/C"), Some(1));
    }

    #[test]
    fn query_values_are_decoded_and_broken_escapes_survive() {
        let wanted = ValueMatch::Exact(b"a b&".as_slice().into());
        assert!(query_matches("x=1&q=a+b%26", "q", &wanted));
        assert!(!query_matches("q=ab", "q", &wanted));
        assert_eq!(decode("%4"), b"%4");
        assert_eq!(decode("%zz%41"), b"%zzA");
    }
}
