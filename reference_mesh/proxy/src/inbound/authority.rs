//! What a request is for, as linkerd2-proxy's `authority` label says it.

use std::borrow::Cow;

use ::http::Request;
use ::http::uri::Authority;

use crate::http::headers::{self, DST_CANONICAL};
use crate::telemetry::host_and_port;

/// The service's name, if the client's proxy says it with its port; else what was asked for. None
/// when that is an address.
pub(super) fn of<B>(request: &Request<B>) -> Option<String> {
    let named = |authority: &Authority| host_and_port(authority).map(Cow::into_owned);
    let service = request.headers().get(DST_CANONICAL);
    let service = service.and_then(|service| Authority::try_from(service.as_bytes()).ok());
    let service = service.filter(|service| service.port().is_some());
    let service = service.as_ref().and_then(named);
    service.or_else(|| named(&headers::authority(request)?))
}

#[cfg(test)]
mod tests {
    use super::of;
    use ::http::Request;

    #[test]
    fn a_service_comes_before_what_was_asked_for() {
        for (service, host, authority) in [
            (
                "web.shop.svc.cluster.local:80",
                "web",
                "web.shop.svc.cluster.local",
            ),
            ("web.shop.svc.cluster.local", "web", "web"),
            ("10.0.0.1:80", "Web:8080", "web:8080"),
            ("", "10.0.0.1:80", ""),
        ] {
            let request = Request::get("/")
                .header("l5d-dst-canonical", service)
                .header("host", host);
            let request = request.body(()).expect("request");
            assert_eq!(
                of(&request).unwrap_or_default(),
                authority,
                "{service:?} {host:?}"
            );
        }
    }
}
