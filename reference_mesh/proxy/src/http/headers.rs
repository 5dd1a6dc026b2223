//! Header rules of a proxy: what belongs to one connection, and what belongs to the mesh.

use ::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Request, uri::Authority};

use crate::mutants::{self, Mutant};

/// Identity of the client, told to the application.
pub const CLIENT_ID: HeaderName = HeaderName::from_static("l5d-client-id");
/// Identity that the endpoint must have.
pub const REQUIRE_ID: HeaderName = HeaderName::from_static("l5d-require-id");
/// Name and port of the service, told to the peer's proxy.
pub const DST_CANONICAL: HeaderName = HeaderName::from_static("l5d-dst-canonical");
/// The service that a request is for, told to a proxy in ingress mode. Others pass it on.
pub const DST_OVERRIDE: HeaderName = HeaderName::from_static("l5d-dst-override");
/// The protocol that the application speaks, when another one carries it.
pub const ORIG_PROTO: HeaderName = HeaderName::from_static("l5d-orig-proto");
/// Why the proxy answered in the application's place.
pub const PROXY_ERROR: HeaderName = HeaderName::from_static("l5d-proxy-error");
/// Asks the peer's proxy to close its client's connection.
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("l5d-proxy-connection");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION_LEGACY: HeaderName = HeaderName::from_static("proxy-connection");
const REMOTE_IP: HeaderName = HeaderName::from_static("l5d-remote-ip");
const SERVER_ID: HeaderName = HeaderName::from_static("l5d-server-id");

/// Removes what belongs to the connection (RFC 9110 7.6.1). `te: trailers` stays, as gRPC needs it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if mutants::active(Mutant::HopByHopKept) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        strip_named_by_connection(headers);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION_LEGACY,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        if !is_kept(&name) {
            headers.remove(name);
        }
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
}

/// As [`strip_hop_by_hop`], for a message that asks for or grants an upgrade: what asks stays.
pub fn strip_hop_by_hop_but_upgrade(headers: &mut HeaderMap) {
    let upgrade = headers.get(UPGRADE).cloned();
    strip_hop_by_hop(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

fn strip_named_by_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
        .filter(|name| *name != TE && *name != HOST && !is_mesh_header(name) && !is_kept(name))
        .collect();
    headers.remove(CONNECTION);
    for name in named {
        headers.remove(name);
    }
}

/// For [`Mutant::NamedFieldsKept`].
fn is_kept(name: &HeaderName) -> bool {
    mutants::active(Mutant::NamedFieldsKept) && (*name == TRAILER || *name == PROXY_AUTHENTICATE)
}

/// Headers that a client must not make the proxy drop by naming them in `Connection`.
fn is_mesh_header(name: &HeaderName) -> bool {
    name.as_str().starts_with("l5d-")
}

/// Removes what only this proxy may say to the application or to a peer.
pub fn strip_untrusted(headers: &mut HeaderMap) {
    if !mutants::active(Mutant::ClientIdKept) {
        headers.remove(CLIENT_ID);
    }
    headers.remove(REMOTE_IP);
    headers.remove(SERVER_ID);
    if mutants::active(Mutant::RepeatedFieldsLost) {
        let names: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in names {
            if let Some(first) = headers.get(&name).cloned() {
                headers.insert(name, first);
            }
        }
    }
}

/// Removes from trailers what would frame or route a message or name its sender: somebody further on
/// may take them for headers (RFC 9110 6.5.1).
pub fn strip_from_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_untrusted(trailers);
    for name in [CONTENT_LENGTH, HOST, TE] {
        trailers.remove(name);
    }
}

/// The authority that a request names: its target's, else its `Host`.
#[must_use]
pub fn authority<B>(request: &Request<B>) -> Option<Authority> {
    request.uri().authority().cloned().or_else(|| {
        let host = request.headers().get(HOST)?;
        Authority::try_from(host.as_bytes()).ok()
    })
}

/// Whether this is gRPC, so that errors are told its way.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(::http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::{strip_hop_by_hop, strip_hop_by_hop_but_upgrade};
    use ::http::{HeaderMap, HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_belongs_to_the_connection_is_removed() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Own, te, l5d-orig-proto"),
            ("keep-alive", "timeout=5"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("l5d-orig-proto", "HTTP/1.1"),
            ("x-other", "2"),
        ]);
        strip_hop_by_hop(&mut map);
        let expected = headers(&[
            ("te", "trailers"),
            ("l5d-orig-proto", "HTTP/1.1"),
            ("x-other", "2"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn an_upgrade_keeps_what_asks_for_it() {
        let mut map = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "websocket"),
        ]);
        strip_hop_by_hop_but_upgrade(&mut map);
        assert_eq!(
            map,
            headers(&[("connection", "upgrade"), ("upgrade", "websocket")])
        );
    }
}
