//! Reading endpoints.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use linkerd2_proxy_api::destination as pb;
use linkerd2_proxy_api::net::TcpAddress;
use rustls::pki_types::DnsName;

use super::{Endpoint, EndpointMeta, Http2Params, Labels, ProtocolHint};
use crate::http::h2::{FRAME_SIZES, KeepAlive, WINDOWS};
use crate::identity::Id;
use crate::policy::{Invalid, Meta};
use crate::tls::ServerTls;

/// Labels of one endpoint that are kept; each becomes part of several metrics.
const MAX_LABELS: usize = 32;

impl TryFrom<pb::WeightedAddr> for Endpoint {
    type Error = Invalid;

    fn try_from(value: pb::WeightedAddr) -> Result<Self, Invalid> {
        endpoint(value, &HashMap::new())
    }
}

/// Reads an endpoint of a set that has labels of its own.
pub(super) fn endpoint(
    value: pb::WeightedAddr,
    set_labels: &HashMap<String, String>,
) -> Result<Endpoint, Invalid> {
    let addr = value
        .addr
        .ok_or_else(|| Invalid::new("missing endpoint address"))?;
    let addr = address(addr)?;
    let hint = value.protocol_hint.unwrap_or_default();
    let port = hint
        .opaque_transport
        .and_then(|transport| transport_port(transport.inbound_port));
    let authority = value
        .authority_override
        .and_then(|authority| authority.authority_override.parse().ok());
    let meta = EndpointMeta {
        labels: merge(set_labels, &value.metric_labels),
        tls: value.tls_identity.map(server_tls).transpose()?,
        protocol_hint: match hint.protocol {
            None => ProtocolHint::Unknown,
            Some(pb::protocol_hint::Protocol::H2(_)) => ProtocolHint::H2,
            Some(pb::protocol_hint::Protocol::Opaque(_)) => ProtocolHint::Opaque,
        },
        opaque_transport_port: port,
        authority_override: authority,
        http2: value.http2.map(http2_params).unwrap_or_default(),
        resource: value
            .resource_ref
            .and_then(|meta| Meta::inbound(Some(meta)).ok()),
        weight: value.weight,
    };
    Ok(Endpoint {
        addr,
        meta: Arc::new(meta),
    })
}

/// Reads an address; the port must be one.
pub(super) fn address(value: TcpAddress) -> Result<SocketAddr, Invalid> {
    let port = u16::try_from(value.port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| Invalid::new(format!("invalid port {}", value.port)))?;
    let ip = value.ip.and_then(|ip| IpAddr::try_from(ip).ok());
    let ip = ip.ok_or_else(|| Invalid::new("invalid endpoint IP address"))?;
    Ok(SocketAddr::new(ip, port))
}

/// As in linkerd2-proxy, 65535 is no port.
fn transport_port(port: u32) -> Option<u16> {
    u16::try_from(port)
        .ok()
        .filter(|port| (1..u16::MAX).contains(port))
}

/// The identity to ask for.
///
/// An endpoint that has one of which nothing can be made is not used: it was announced as meshed, and
/// would get in plain text what is meant for a peer. linkerd2-proxy sends it plain text.
fn server_tls(value: pb::TlsIdentity) -> Result<ServerTls, Invalid> {
    use pb::tls_identity::Strategy;
    let invalid = |error| Invalid::new(format!("invalid endpoint identity: {error}"));
    let (id, own_name) = match value.strategy {
        None => {
            return Err(Invalid::new(
                "endpoint identity of a kind that is not known",
            ));
        }
        Some(Strategy::DnsLikeIdentity(dns)) => {
            let id = Id::parse_dns(&dns.name).map_err(invalid)?;
            let name = id.to_string();
            (id, Some(name))
        }
        Some(Strategy::UriLikeIdentity(uri)) => (Id::parse_uri(&uri.uri).map_err(invalid)?, None),
    };
    let name = value.server_name.map(|name| name.name).or(own_name);
    let name = name.ok_or_else(|| Invalid::new("endpoint identity without a server name"))?;
    if DnsName::try_from(name.as_str()).is_err() {
        return Err(Invalid::new(format!("invalid server name {name:?}")));
    }
    Ok(ServerTls {
        id,
        server_name: name.into(),
    })
}

fn merge(set: &HashMap<String, String>, own: &HashMap<String, String>) -> Labels {
    let all: BTreeMap<_, _> = set
        .iter()
        .chain(own)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    Arc::new(all.into_iter().take(MAX_LABELS).collect())
}

fn http2_params(value: pb::Http2ClientParams) -> Http2Params {
    let flow = value.flow_control.unwrap_or_default();
    let internals = value.internals.unwrap_or_default();
    let keep_alive = value.keep_alive.unwrap_or_default();
    // What is out of range would break the connection: the default serves better.
    let within = |range: RangeInclusive<u32>, value| Some(value).filter(|v| range.contains(v));
    let count = |value: u32| usize::try_from(value).ok().filter(|value| *value > 0);
    let time = |value: Option<prost_types::Duration>| Duration::try_from(value?).ok();
    let times = time(keep_alive.interval).zip(time(keep_alive.timeout));
    let times = times.filter(|(interval, timeout)| !interval.is_zero() && !timeout.is_zero());
    Http2Params {
        initial_connection_window_size: within(WINDOWS, flow.initial_connection_window_size),
        initial_stream_window_size: within(WINDOWS, flow.initial_stream_window_size),
        keep_alive: times.map(|(interval, timeout)| KeepAlive {
            interval,
            timeout,
            while_idle: keep_alive.while_idle,
        }),
        max_concurrent_reset_streams: count(internals.max_concurrent_reset_streams),
        max_frame_size: within(FRAME_SIZES, internals.max_frame_size),
        max_send_buf_size: count(internals.max_send_buf_size),
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Invalid, http2_params};
    use crate::http::h2::Settings;
    use linkerd2_proxy_api::destination::Http2ClientParams;
    use linkerd2_proxy_api::destination::http2_client_params::{FlowControl, Internals, KeepAlive};
    use linkerd2_proxy_api::destination::tls_identity::{
        DnsLikeIdentity, Strategy, UriLikeIdentity,
    };
    use linkerd2_proxy_api::destination::{TlsIdentity, WeightedAddr};
    use std::net::SocketAddr;
    use std::time::Duration;

    fn of_identity(identity: Option<TlsIdentity>) -> Result<Endpoint, Invalid> {
        let addr: SocketAddr = "10.1.0.1:80".parse().expect("valid");
        Endpoint::try_from(WeightedAddr {
            addr: Some(addr.into()),
            tls_identity: identity,
            ..Default::default()
        })
    }

    #[test]
    fn only_an_endpoint_without_an_identity_is_plain_text() {
        let named = |strategy| {
            Some(TlsIdentity {
                strategy,
                server_name: None,
            })
        };
        let dns = |name: &str| {
            let name = name.to_owned();
            named(Some(Strategy::DnsLikeIdentity(DnsLikeIdentity { name })))
        };
        let uri = "spiffe://a/b".to_owned();
        let uri = named(Some(Strategy::UriLikeIdentity(UriLikeIdentity { uri })));
        assert!(of_identity(None).expect("plain").meta.tls.is_none());
        assert!(
            of_identity(dns("api.ns"))
                .expect("meshed")
                .meta
                .tls
                .is_some()
        );
        for unusable in [named(None), dns(""), dns("no name"), uri] {
            assert!(of_identity(unusable.clone()).is_err(), "{unusable:?}");
        }
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn what_the_control_plane_says_of_http_2_holds() {
        let params = http2_params(Http2ClientParams {
            flow_control: Some(FlowControl {
                initial_connection_window_size: 2_000_000,
                ..Default::default()
            }),
            keep_alive: Some(KeepAlive {
                interval: seconds(10),
                timeout: seconds(3),
                while_idle: true,
            }),
            internals: Some(Internals {
                max_frame_size: 65_536,
                ..Default::default()
            }),
        });
        let settings = params.over(Settings::default());
        assert_eq!(settings.connection_window, 2_000_000);
        assert_eq!(settings.max_frame, 65_536);
        let pings = settings.keep_alive.expect("set");
        assert_eq!(pings.interval, Duration::from_secs(10));
        assert!(pings.while_idle);
        assert_eq!(
            settings.stream_window,
            Settings::default().stream_window,
            "not said"
        );
    }

    #[test]
    fn sizes_that_the_protocol_forbids_are_not_used() {
        let params = http2_params(Http2ClientParams {
            flow_control: Some(FlowControl {
                initial_stream_window_size: 1 << 31,
                ..Default::default()
            }),
            keep_alive: Some(KeepAlive {
                interval: seconds(0),
                timeout: seconds(3),
                while_idle: false,
            }),
            internals: Some(Internals {
                max_frame_size: 100,
                ..Default::default()
            }),
        });
        assert_eq!(params.over(Settings::default()), Settings::default());
    }
}
