//! What a route does to a request before it is sent, and to its response.

use std::sync::Arc;

use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderValue, Request, Uri};

use super::error::ProxyError;
use crate::policy::outbound::{Filter, HeaderChanges, Ratio, Redirect, RedirectPath};

/// Applies `filters` in order. `prefix_len`: bytes of the path that the route matched.
///
/// # Errors
/// When a filter answers in the backend's place.
pub fn on_request<B>(
    filters: &[Filter],
    request: &mut Request<B>,
    prefix_len: usize,
) -> Result<(), ProxyError> {
    for filter in filters {
        match filter {
            Filter::RequestHeaders(changes) => change(changes, request.headers_mut()),
            Filter::ResponseHeaders(_) => {}
            Filter::FailHttp {
                status,
                message,
                ratio,
            } => {
                if hits(*ratio) {
                    return Err(ProxyError::Injected(*status, message.clone()));
                }
            }
            Filter::FailGrpc {
                code,
                message,
                ratio,
            } => {
                if hits(*ratio) {
                    return Err(ProxyError::InjectedGrpc(*code, message.clone()));
                }
            }
            Filter::Redirect(redirect) => {
                if let Some(location) = location(redirect, request, prefix_len)? {
                    return Err(ProxyError::Redirect(redirect.status, location));
                }
            }
            Filter::Unknown => {
                let reason = Arc::from("a filter of the route is not known to this proxy");
                return Err(ProxyError::InvalidPolicy(reason));
            }
        }
    }
    Ok(())
}

/// Applies what of `filters` is about responses.
pub fn on_response(filters: &[Filter], headers: &mut HeaderMap) {
    for filter in filters {
        if let Filter::ResponseHeaders(changes) = filter {
            change(changes, headers);
        }
    }
}

fn change(changes: &HeaderChanges, headers: &mut HeaderMap) {
    for (name, value) in &changes.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &changes.add {
        headers.append(name, value.clone());
    }
    for name in &changes.remove {
        headers.remove(name);
    }
}

fn hits(ratio: Ratio) -> bool {
    ratio.numerator >= ratio.denominator || fastrand::u32(..ratio.denominator) < ratio.numerator
}

/// The URI to go to, where what the redirect does not name is the request's. None when that is where
/// the request goes already: its client would be sent round for ever.
fn location<B>(
    redirect: &Redirect,
    request: &Request<B>,
    prefix_len: usize,
) -> Result<Option<HeaderValue>, ProxyError> {
    let invalid = |reason: &str| ProxyError::InvalidPolicy(reason.into());
    let uri = request.uri();
    let authority = super::headers::authority(request);
    let own_host = authority.as_ref().map_or("", Authority::host);
    let own_port = authority.as_ref().and_then(Authority::port_u16);
    let own_scheme = uri.scheme_str().unwrap_or("http");
    let host = match redirect.host.as_deref() {
        Some(host) if !host.eq_ignore_ascii_case(own_host) => host,
        _ if own_host.is_empty() => return Err(invalid("a redirect that has no host to go to")),
        _ => own_host,
    };
    let scheme = redirect.scheme.as_deref().unwrap_or(own_scheme);
    let port = match (redirect.port, &redirect.scheme) {
        (Some(port), _) => Some(port),
        // As Gateway API has it: who names a scheme means its own port.
        (None, Some(_)) => None,
        (None, None) => own_port,
    };
    let target = absolute(
        scheme,
        host,
        port,
        &path(redirect.path.as_ref(), uri, prefix_len),
    );
    if target == absolute(own_scheme, own_host, own_port, &path(None, uri, 0)) {
        return Ok(None);
    }
    let target = HeaderValue::try_from(target);
    target
        .map(Some)
        .map_err(|_| invalid("a redirect to what is no URI"))
}

/// A URI that names no port where its scheme says the same.
fn absolute(scheme: &str, host: &str, port: Option<u16>, path: &str) -> String {
    match port {
        Some(port) if (scheme, port) != ("http", 80) && (scheme, port) != ("https", 443) => {
            format!("{scheme}://{host}:{port}{path}")
        }
        _ => format!("{scheme}://{host}{path}"),
    }
}

/// Path and query. A whole path comes with its own query or none; what replaces a prefix keeps the rest.
fn path(redirect: Option<&RedirectPath>, uri: &Uri, prefix_len: usize) -> String {
    let path = match redirect {
        None => uri.path().to_owned(),
        Some(RedirectPath::Full(path)) => return path.to_string(),
        Some(RedirectPath::Prefix(prefix)) => {
            let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
            let rest = uri.path().get(prefix_len..).unwrap_or_default();
            match (prefix.trim_end_matches('/'), rest) {
                (_, "") => format!("/{prefix}"),
                ("", rest) => format!("/{}", rest.strip_prefix('/').unwrap_or(rest)),
                (start, rest) => format!("/{start}/{}", rest.strip_prefix('/').unwrap_or(rest)),
            }
        }
    };
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::on_request;
    use crate::http::error::ProxyError;
    use crate::policy::outbound::{Filter, HeaderChanges, Redirect, RedirectPath};
    use ::http::{HeaderName, HeaderValue, Request, StatusCode};

    #[test]
    fn headers_are_set_then_added_then_removed() {
        let pair = |name, value| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let changes = HeaderChanges {
            set: vec![pair("x-a", "2")],
            add: vec![pair("x-a", "3")],
            remove: vec![HeaderName::from_static("x-b")],
        };
        let mut request = Request::get("/")
            .header("x-a", "1")
            .header("x-b", "1")
            .body(());
        let request = request.as_mut().expect("valid");
        on_request(&[Filter::RequestHeaders(changes)], request, 0).expect("passes");
        let values: Vec<_> = request.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["2", "3"]);
        assert!(!request.headers().contains_key("x-b"));
    }

    /// Where `redirect` sends a request for `path` of `host`, of which the route matched `/old`.
    fn redirected(redirect: Redirect, host: &str, path: &str) -> Option<String> {
        let redirect = Redirect {
            status: StatusCode::FOUND,
            ..redirect
        };
        let request = Request::get(path).header("host", host).body(());
        let mut request = request.expect("valid");
        match on_request(&[Filter::Redirect(redirect)], &mut request, "/old".len()) {
            Ok(()) => None,
            Err(ProxyError::Redirect(StatusCode::FOUND, location)) => {
                Some(location.to_str().expect("text").to_owned())
            }
            Err(error) => panic!("no redirect: {error:?}"),
        }
    }

    #[test]
    fn a_redirect_replaces_a_prefix_segment_by_segment() {
        for (prefix, path, wanted) in [
            ("/new", "/old/a?b", "/new/a?b"),
            ("/new/", "/old/a", "/new/a"),
            ("new", "/old/a", "/new/a"),
            ("/new", "/old", "/new"),
            ("/new", "/old/", "/new/"),
            ("", "/old/a", "/a"),
            ("", "/old", "/"),
            ("/", "/old/", "/"),
        ] {
            let redirect = Redirect {
                path: Some(RedirectPath::Prefix(prefix.into())),
                ..Redirect::default()
            };
            let wanted = format!("http://web:8080{wanted}");
            let location = redirected(redirect, "web:8080", path);
            assert_eq!(location, Some(wanted), "{prefix:?} {path}");
        }
    }

    #[test]
    fn a_whole_path_comes_with_its_own_query() {
        for full in ["/new", "/new?c"] {
            let redirect = Redirect {
                path: Some(RedirectPath::Full(full.into())),
                ..Redirect::default()
            };
            let location = redirected(redirect, "web", "/old?b");
            assert_eq!(location, Some(format!("http://web{full}")));
        }
    }

    #[test]
    fn a_redirect_keeps_the_port_unless_it_names_another_or_a_scheme() {
        let to = |scheme: &str, host: &str, port| Redirect {
            scheme: Some(scheme.into()).filter(|_| !scheme.is_empty()),
            host: Some(host.into()).filter(|_| !host.is_empty()),
            port,
            ..Redirect::default()
        };
        for (redirect, wanted) in [
            (to("", "app", None), "http://app:8080/old"),
            (to("", "app", Some(81)), "http://app:81/old"),
            (to("", "app", Some(80)), "http://app/old"),
            (to("", "", Some(80)), "http://web/old"),
            (to("https", "", None), "https://web/old"),
            (to("https", "", Some(443)), "https://web/old"),
            (to("https", "", Some(80)), "https://web:80/old"),
        ] {
            let location = redirected(redirect.clone(), "web:8080", "/old");
            assert_eq!(location.as_deref(), Some(wanted), "{redirect:?}");
        }
    }

    #[test]
    fn a_redirect_to_the_same_place_lets_the_request_pass() {
        assert_eq!(redirected(Redirect::default(), "web:80", "/old?b"), None);
        let same = Redirect {
            scheme: Some("http".into()),
            host: Some("WEB".into()),
            port: Some(80),
            path: Some(RedirectPath::Full("/old?b".into())),
            ..Redirect::default()
        };
        assert_eq!(redirected(same, "web", "/old?b"), None);
    }

    #[test]
    fn a_redirect_needs_a_host_to_go_to() {
        let mut request = Request::get("/old").body(()).expect("valid");
        let https = Redirect {
            scheme: Some("https".into()),
            ..Redirect::default()
        };
        let answer = on_request(&[Filter::Redirect(https)], &mut request, 0);
        assert!(matches!(answer, Err(ProxyError::InvalidPolicy(_))));
    }
}
