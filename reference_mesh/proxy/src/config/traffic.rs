//! What each direction's traffic gets: listeners, limits, time-outs, policy.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::env::{Reader, Strings, parse_addr, parse_ports};
use super::http2;
use super::read::{key, limit, local, parse_net};
use super::{Backoff, DefaultPolicy, Direction, Inbound, Outbound};
use crate::http::h2::Settings;
use crate::telemetry::access_log::Format;

pub(super) fn outbound<S: Strings>(r: &Reader<'_, S>, base: Settings) -> Outbound {
    let mut listen = r.list(&key("OUTBOUND_LISTEN_ADDRS"), parse_addr);
    if listen.is_empty() {
        listen.push(r.addr(&key("OUTBOUND_LISTEN_ADDR"), local(4140)));
    }
    if listen.len() > 2 {
        r.reject(
            &key("OUTBOUND_LISTEN_ADDRS"),
            "at most two addresses can be listened on",
        );
    }
    Outbound {
        listen,
        direction: direction(r, &OUTBOUND_DEFAULTS, base),
        tcp_failfast_timeout: r.duration(
            &key("OUTBOUND_TCP_FAILFAST_TIMEOUT"),
            Duration::from_secs(3),
        ),
        hide_proxy_errors: r.flag(&key("OUTBOUND_DISABLE_INFORMATIONAL_HEADERS"), false),
        hostname_labels: r.flag(&key("OUTBOUND_METRICS_HOSTNAME_LABELS"), false),
        ingress_mode: r.flag(&key("INGRESS_MODE"), false),
    }
}

pub(super) fn inbound<S: Strings>(r: &Reader<'_, S>, base: Settings) -> Inbound {
    let default_policy = r
        .parsed(&key("INBOUND_DEFAULT_POLICY"), parse_default_policy)
        .unwrap_or(DefaultPolicy::AllUnauthenticated);
    let cluster_networks = r.list(&key("POLICY_CLUSTER_NETWORKS"), parse_net);
    let needs_networks = matches!(
        default_policy,
        DefaultPolicy::ClusterAuthenticated
            | DefaultPolicy::ClusterUnauthenticated
            | DefaultPolicy::Audit
    );
    if needs_networks && cluster_networks.is_empty() {
        let reason = "must be set for the cluster-* and audit default policies";
        r.reject(&key("POLICY_CLUSTER_NETWORKS"), reason);
    }
    let parse_ip = |text: &str| {
        text.parse()
            .map_err(|_| format!("{text:?} is not an IP address"))
    };
    Inbound {
        listen: r.addr(
            &key("INBOUND_LISTEN_ADDR"),
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4143),
        ),
        direction: direction(r, &INBOUND_DEFAULTS, base),
        default_policy,
        cluster_networks,
        ports: ports(r, "INBOUND_PORTS"),
        opaque_ports: ports(r, "INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION"),
        require_identity_ports: ports(r, "INBOUND_PORTS_REQUIRE_IDENTITY"),
        require_tls_ports: ports(r, "INBOUND_PORTS_REQUIRE_TLS"),
        own_ips: r.list(&key("INBOUND_IPS"), parse_ip).into_iter().collect(),
        authority_labels: authority_labels(r),
        access_log: access_log(r),
    }
}

/// What linkerd2-proxy assumes of one direction, and how its variables are called there.
struct Defaults {
    side: &'static str,
    connect_timeout: Duration,
    backoff_max: Duration,
    failfast_timeout: Duration,
    discovery_idle: Duration,
    max_idle_key: &'static str,
}

const OUTBOUND_DEFAULTS: Defaults = Defaults {
    side: "OUTBOUND",
    connect_timeout: Duration::from_secs(1),
    backoff_max: Duration::from_secs(60),
    failfast_timeout: Duration::from_secs(3),
    discovery_idle: Duration::from_secs(5),
    max_idle_key: "OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT",
};

const INBOUND_DEFAULTS: Defaults = Defaults {
    side: "INBOUND",
    connect_timeout: Duration::from_millis(300),
    backoff_max: Duration::from_secs(10),
    failfast_timeout: Duration::from_secs(1),
    discovery_idle: Duration::from_secs(90),
    // Without a prefix, as in linkerd2-proxy.
    max_idle_key: "MAX_IDLE_CONNS_PER_ENDPOINT",
};

fn direction<S: Strings>(r: &Reader<'_, S>, defaults: &Defaults, base: Settings) -> Direction {
    let own = |name: &str| key(&format!("{}_{name}", defaults.side));
    let duration = |name: &str, default| r.duration(&own(name), default);
    let optional = |name: &str| limit(r, &format!("{}_{name}", defaults.side));
    Direction {
        detect_timeout: duration("DETECT_TIMEOUT", Duration::from_secs(10)),
        connect_timeout: duration("CONNECT_TIMEOUT", defaults.connect_timeout),
        connect_backoff: backoff(r, defaults.side, defaults.backoff_max),
        failfast_timeout: duration("HTTP_FAILFAST_TIMEOUT", defaults.failfast_timeout),
        queue_capacity: r.number(&own("HTTP_QUEUE_CAPACITY"), 10_000),
        max_in_flight: r.number(&own("MAX_IN_FLIGHT"), 100_000),
        discovery_idle: duration("DISCOVERY_IDLE_TIMEOUT", defaults.discovery_idle),
        pool_idle: duration("HTTP1_CONNECTION_POOL_IDLE_TIMEOUT", Duration::from_secs(3)),
        max_idle_per_endpoint: r.number(&key(defaults.max_idle_key), 10_000),
        accept_keepalive: optional("ACCEPT_KEEPALIVE"),
        connect_keepalive: optional("CONNECT_KEEPALIVE"),
        accept_user_timeout: optional("ACCEPT_USER_TIMEOUT"),
        connect_user_timeout: optional("CONNECT_USER_TIMEOUT"),
        h2_server: http2::server(r, defaults.side, base),
    }
}

fn backoff<S: Strings>(r: &Reader<'_, S>, side: &str, max: Duration) -> Backoff {
    let own = |name: &str| key(&format!("{side}_CONNECT_EXP_BACKOFF_{name}"));
    let read = Backoff {
        min: r.duration(&own("MIN"), Duration::from_millis(100)),
        max: r.duration(&own("MAX"), max),
        jitter_ratio: r.number(&own("JITTER"), 0.1),
    };
    if read.min > read.max {
        r.reject(&own("MIN"), "must not exceed the maximum");
    }
    if !(0.0..=100.0).contains(&read.jitter_ratio) {
        r.reject(&own("JITTER"), "must be between 0 and 100");
    }
    read
}

fn ports<S: Strings>(r: &Reader<'_, S>, name: &str) -> BTreeSet<u16> {
    r.list(&key(name), parse_ports)
        .into_iter()
        .flatten()
        .collect()
}

/// Off, unless its danger is named.
fn authority_labels<S: Strings>(r: &Reader<'_, S>) -> bool {
    let text = r.text(&key("INBOUND_METRICS_AUTHORITY_LABELS"));
    text.is_some_and(|text| text.eq_ignore_ascii_case("unsafe"))
}

/// As linkerd2-proxy does: no log is worth not to start.
fn access_log<S: Strings>(r: &Reader<'_, S>) -> Option<Format> {
    let name = key("ACCESS_LOG");
    let text = r.text(&name)?;
    match text.to_ascii_lowercase().as_str() {
        "apache" => Some(Format::Apache),
        "json" => Some(Format::Json),
        _ => {
            tracing::error!("No access log: {name}: {text:?} is neither apache nor json");
            None
        }
    }
}

fn parse_default_policy(text: &str) -> Result<DefaultPolicy, String> {
    match text {
        "deny" => Ok(DefaultPolicy::Deny),
        "all-authenticated" => Ok(DefaultPolicy::AllAuthenticated),
        "all-unauthenticated" => Ok(DefaultPolicy::AllUnauthenticated),
        "cluster-authenticated" => Ok(DefaultPolicy::ClusterAuthenticated),
        "cluster-unauthenticated" => Ok(DefaultPolicy::ClusterUnauthenticated),
        "audit" => Ok(DefaultPolicy::Audit),
        other => Err(format!(
            "{other:?} is none of deny, audit, all-authenticated, all-unauthenticated, \
             cluster-authenticated, cluster-unauthenticated"
        )),
    }
}
