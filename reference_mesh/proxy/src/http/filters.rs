//! What a route does to a request before it is sent, and to its response.

use std::sync::Arc;

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
                let location = location(redirect, request, prefix_len);
                return Err(ProxyError::Redirect(redirect.status, location));
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

/// The URI to go to; what the redirect does not name is the request's.
fn location<B>(redirect: &Redirect, request: &Request<B>, prefix_len: usize) -> HeaderValue {
    let uri = request.uri();
    let scheme = redirect
        .scheme
        .as_deref()
        .or(uri.scheme_str())
        .unwrap_or("http");
    let authority = super::headers::authority(request);
    let own_host = authority.as_ref().map_or("", |authority| authority.host());
    let host = redirect.host.as_deref().unwrap_or(own_host);
    let port = match (redirect.port, &redirect.host, &redirect.scheme) {
        (Some(port), ..) => Some(port),
        (None, None, None) => authority
            .as_ref()
            .and_then(|authority| authority.port_u16()),
        (None, ..) => None,
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = path(redirect.path.as_ref(), uri, prefix_len);
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    HeaderValue::try_from(format!("{scheme}://{host}{port}{path}{query}"))
        .unwrap_or_else(|_| HeaderValue::from_static("/"))
}

fn path(redirect: Option<&RedirectPath>, uri: &Uri, prefix_len: usize) -> String {
    match redirect {
        None => uri.path().to_owned(),
        Some(RedirectPath::Full(path)) => path.to_string(),
        Some(RedirectPath::Prefix(prefix)) => {
            let rest = uri.path().get(prefix_len..).unwrap_or_default();
            format!(
                "{}/{}",
                prefix.trim_end_matches('/'),
                rest.trim_start_matches('/')
            )
        }
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

    #[test]
    fn a_redirect_keeps_what_it_does_not_name() {
        let redirect = Redirect {
            path: Some(RedirectPath::Prefix("/new".into())),
            status: StatusCode::FOUND,
            ..Redirect::default()
        };
        let mut request = Request::get("/old/a?b")
            .header("host", "web:8080")
            .body(())
            .expect("valid");
        let answer = on_request(&[Filter::Redirect(redirect)], &mut request, "/old".len());
        let Err(ProxyError::Redirect(status, location)) = answer else {
            panic!("no redirect: {answer:?}");
        };
        assert_eq!(
            (status, location.as_bytes()),
            (StatusCode::FOUND, &b"http://web:8080/new/a?b"[..])
        );
    }
}
