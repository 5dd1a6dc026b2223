//! Which variable sets what, and what holds where it is unset.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::env::{Reader, Strings, parse_duration};
use super::{
    Config, ControlAddr, ControlStreams, Identity, Lookup, cores, http2, traffic, unheeded,
};
use crate::discovery::Suffix;

pub(super) const PREFIX: &str = "LINKERD2_PROXY_";

/// Reads everything; what is bad stays with the reader.
pub(super) fn config<S: Strings>(r: &Reader<'_, S>) -> Config {
    let base = http2::base(r);
    Config {
        outbound: traffic::outbound(r, base),
        inbound: traffic::inbound(r, base),
        identity: identity(r),
        destination: control(r, "DESTINATION_SVC"),
        lookup: lookup(r),
        policy: control(r, "POLICY_SVC"),
        policy_workload: r.required(&key("POLICY_WORKLOAD")),
        admin_addr: r.addr(&key("ADMIN_LISTEN_ADDR"), local(4191)),
        shutdown_grace: r.duration(&key("SHUTDOWN_GRACE_PERIOD"), Duration::from_secs(120)),
        shutdown_endpoint: r.flag(&key("SHUTDOWN_ENDPOINT_ENABLED"), false),
        cores: cores::cores(r),
        control_streams: ControlStreams {
            initial: limit(r, "CONTROL_STREAM_INITIAL_TIMEOUT"),
            idle: limit(r, "CONTROL_STREAM_IDLE_TIMEOUT"),
            lifetime: limit(r, "CONTROL_STREAM_LIFETIME"),
        },
        metrics_retain_idle: r.duration(&key("METRICS_RETAIN_IDLE"), Duration::from_secs(600)),
        h2: base,
        dns_ttl: (limit(r, "DNS_MIN_TTL"), limit(r, "DNS_MAX_TTL")),
        // The last one, when all others have been read.
        unheeded: unheeded::variables(r),
    }
}

pub(super) fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn identity<S: Strings>(r: &Reader<'_, S>) -> Identity {
    let local_name = r
        .text(&key("IDENTITY_LOCAL_NAME"))
        .or_else(|| r.text(&key("IDENTITY_SERVER_ID")))
        .unwrap_or_else(|| r.required(&key("IDENTITY_LOCAL_NAME")));
    Identity {
        dir: r.required(&key("IDENTITY_DIR")).into(),
        trust_anchors: r.required(&key("IDENTITY_TRUST_ANCHORS")),
        token_file: r.required(&key("IDENTITY_TOKEN_FILE")).into(),
        server_name: r
            .text(&key("IDENTITY_SERVER_NAME"))
            .unwrap_or_else(|| local_name.clone()),
        local_name,
        addr: control(r, "IDENTITY_SVC"),
        refresh: (
            r.duration(&key("IDENTITY_MIN_REFRESH"), Duration::from_secs(10)),
            r.duration(&key("IDENTITY_MAX_REFRESH"), Duration::from_secs(86_400)),
        ),
    }
}

fn control<S: Strings>(r: &Reader<'_, S>, service: &str) -> ControlAddr {
    let addr_key = key(&format!("{service}_ADDR"));
    let text = r.required(&addr_key);
    let (host, port) = text.rsplit_once(':').unwrap_or((text.as_str(), ""));
    let port = port.parse().unwrap_or(0);
    if !text.is_empty() && (host.is_empty() || port == 0) {
        r.reject(&addr_key, &format!("{text:?} is not of the form host:port"));
    }
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let mut addr = ControlAddr {
        host,
        port,
        name: r.text(&key(&format!("{service}_NAME"))),
    };
    if addr.is_loopback() {
        addr.name = None;
    } else if addr.name.is_none() && !text.is_empty() {
        let reason = "must be set, as the service is not on a loopback address";
        r.reject(&key(&format!("{service}_NAME")), reason);
    }
    addr
}

fn lookup<S: Strings>(r: &Reader<'_, S>) -> Lookup {
    Lookup {
        context: r.text(&key("DESTINATION_CONTEXT")).unwrap_or_default(),
        networks: r.list(&key("DESTINATION_PROFILE_NETWORKS"), parse_net),
        suffixes: suffixes(r),
    }
}

fn suffixes<S: Strings>(r: &Reader<'_, S>) -> Vec<Suffix> {
    let suffixes = key("DESTINATION_PROFILE_SUFFIXES");
    if r.text(&suffixes).is_some() {
        r.list(&suffixes, Suffix::parse)
    } else {
        Suffix::parse("svc.cluster.local.").into_iter().collect()
    }
}

/// A duration that is no limit when it is unset or 0.
pub(super) fn limit<S: Strings>(r: &Reader<'_, S>, name: &str) -> Option<Duration> {
    r.parsed(&key(name), parse_duration)
        .filter(|duration| !duration.is_zero())
}

pub(super) fn parse_net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not a network such as 10.0.0.0/8"))
}

pub(super) const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
