//! HTTP/1 carried over HTTP/2 between proxies.
//!
//! Peers' proxies keep one HTTP/2 connection for all requests. What HTTP/1 said and HTTP/2 cannot
//! (the version, an absolute target) travels in `l5d-orig-proto`, and the other proxy restores it.

use ::http::header::HOST;
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::headers::{self, ORIG_PROTO};

/// The form of the request that was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrigProto {
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Whether the target named a scheme and host.
    pub absolute_form: bool,
}

/// Turns an HTTP/1 request into the HTTP/2 request that carries it.
pub fn upgrade<B>(request: &mut Request<B>, authority: Authority) {
    let orig = OrigProto {
        version: request.version(),
        absolute_form: request.uri().scheme().is_some(),
    };
    headers::strip_hop_by_hop(request.headers_mut());
    request.headers_mut().insert(ORIG_PROTO, orig.header());
    to_h2(request, authority);
}

/// Gives a request the form that HTTP/2 sends.
pub fn to_h2<B>(request: &mut Request<B>, authority: Authority) {
    request.headers_mut().remove(HOST);
    let path = path_of(request);
    let scheme = request.uri().scheme().cloned().unwrap_or(Scheme::HTTP);
    *request.uri_mut() = assemble(scheme, authority, path);
    *request.version_mut() = Version::HTTP_2;
}

/// Takes off what says that an HTTP/2 request carries one of HTTP/1; none when it does not.
pub fn take<B>(request: &mut Request<B>) -> Option<OrigProto> {
    OrigProto::parse(&request.headers_mut().remove(ORIG_PROTO)?)
}

/// Turns a request that came over HTTP/2 back into the HTTP/1 request that it carries; none when it
/// carries none.
pub fn downgrade<B>(request: &mut Request<B>) -> Option<OrigProto> {
    let orig = take(request)?;
    to_h1(request, orig);
    Some(orig)
}

/// Gives a request the form that HTTP/1 sends. Its authority is its one `Host`, whatever that was
/// (RFC 9113 8.3.1).
pub fn to_h1<B>(request: &mut Request<B>, orig: OrigProto) {
    if let Some(authority) = request.uri().authority()
        && !is_only_host(request.headers(), authority)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    if !orig.absolute_form && *request.method() != Method::CONNECT {
        let path = path_of(request);
        *request.uri_mut() = Uri::from(path);
    }
    *request.version_mut() = orig.version;
}

/// Marks a response as carried, and says what it was.
pub fn mark_response(headers: &mut HeaderMap, version: Version) {
    headers.insert(
        ORIG_PROTO,
        OrigProto {
            version,
            absolute_form: false,
        }
        .header(),
    );
}

// === impl OrigProto ===

impl OrigProto {
    /// HTTP/1.1 with an ordinary target.
    pub const HTTP_11: Self = Self {
        version: Version::HTTP_11,
        absolute_form: false,
    };

    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let mut parts = text.split(';').map(str::trim);
        let version = match parts.next()? {
            "HTTP/1.1" => Version::HTTP_11,
            "HTTP/1.0" => Version::HTTP_10,
            _ => return None,
        };
        Some(Self {
            version,
            absolute_form: parts.any(|part| part == "absolute-form"),
        })
    }

    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match (self.version, self.absolute_form) {
            (Version::HTTP_10, false) => "HTTP/1.0",
            (Version::HTTP_10, true) => "HTTP/1.0; absolute-form",
            (_, false) => "HTTP/1.1",
            (_, true) => "HTTP/1.1; absolute-form",
        })
    }
}

fn is_only_host(headers: &HeaderMap, authority: &Authority) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    hosts.next().is_some_and(|host| host == authority.as_str()) && hosts.next().is_none()
}

fn path_of<B>(request: &Request<B>) -> PathAndQuery {
    let path = request.uri().path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

fn assemble(scheme: Scheme, authority: Authority, path: PathAndQuery) -> Uri {
    let mut parts = ::http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    // All three parts are there, which is all that is asked of them.
    Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{ORIG_PROTO, downgrade, upgrade};
    use ::http::{HeaderValue, Request, Version, header::HOST, uri::Authority};

    #[test]
    fn a_carried_request_has_one_host() {
        for hosts in [
            &["other"][..],
            &["web", "other"],
            &["web", "web"],
            &["web"],
            &[],
        ] {
            let mut request = Request::get("http://web/a")
                .header(ORIG_PROTO, "HTTP/1.1")
                .body(())
                .expect("valid");
            for host in hosts {
                request
                    .headers_mut()
                    .append(HOST, HeaderValue::from_static(host));
            }
            downgrade(&mut request).expect("carried");
            let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
            assert_eq!(hosts, ["web"]);
        }
    }

    #[test]
    fn a_request_survives_the_way_over_http_2() {
        for (uri, version) in [
            ("/a?b=c", Version::HTTP_11),
            ("/", Version::HTTP_10),
            ("http://web:8080/a", Version::HTTP_11),
        ] {
            let mut request = Request::get(uri)
                .version(version)
                .header(HOST, "web:8080")
                .body(())
                .expect("valid");
            upgrade(&mut request, Authority::from_static("web:8080"));
            assert_eq!(request.version(), Version::HTTP_2);
            assert!(!request.headers().contains_key(HOST));
            downgrade(&mut request).expect("carried");
            assert_eq!(
                (request.uri().to_string().as_str(), request.version()),
                (uri, version)
            );
            assert_eq!(request.headers()[HOST], "web:8080");
        }
    }
}
