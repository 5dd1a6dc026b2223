//! Which variable sets what, and what holds where it is unset.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::env::{Reader, Strings, parse_addr, parse_duration, parse_number, parse_ports};
use super::{
    Backoff, Config, ControlAddr, ControlStreams, DefaultPolicy, Direction, Identity, Inbound,
    Lookup, Outbound,
};
use crate::http::h2::{self, KeepAlive, Settings};

const PREFIX: &str = "LINKERD2_PROXY_";

/// How long a ping may stay unanswered where only the pause between pings is set, as in hyper.
const DEFAULT_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Variables that are heeded, though `config` may not ask for them.
const HEEDED: [&str; 5] = [
    // Read before there is a configuration.
    "LOG",
    "LOG_FORMAT",
    // Others that are set hold in their place.
    "OUTBOUND_LISTEN_ADDR",
    "IDENTITY_SERVER_ID",
    // Only for ingress mode and for gateways, whose own variables are told of.
    "DESTINATION_PROFILE_SUFFIXES",
];

/// Reads everything; what is bad stays with the reader.
pub(super) fn config<S: Strings>(r: &Reader<'_, S>) -> Config {
    let base = base_h2(r);
    Config {
        outbound: outbound(r, base),
        inbound: inbound(r, base),
        identity: identity(r),
        destination: control(r, "DESTINATION_SVC"),
        lookup: lookup(r),
        policy: control(r, "POLICY_SVC"),
        policy_workload: r.required(&key("POLICY_WORKLOAD")),
        admin_addr: r.addr(&key("ADMIN_LISTEN_ADDR"), local(4191)),
        shutdown_grace: r.duration(&key("SHUTDOWN_GRACE_PERIOD"), Duration::from_secs(120)),
        shutdown_endpoint: r.flag(&key("SHUTDOWN_ENDPOINT_ENABLED"), false),
        control_streams: ControlStreams {
            initial: limit(r, "CONTROL_STREAM_INITIAL_TIMEOUT"),
            idle: limit(r, "CONTROL_STREAM_IDLE_TIMEOUT"),
            lifetime: limit(r, "CONTROL_STREAM_LIFETIME"),
        },
        metrics_retain_idle: r.duration(&key("METRICS_RETAIN_IDLE"), Duration::from_secs(600)),
        h2: base,
        dns_ttl: (limit(r, "DNS_MIN_TTL"), limit(r, "DNS_MAX_TTL")),
        // The last one, when all others have been read.
        unheeded: unheeded(r),
    }
}

fn unheeded<S: Strings>(r: &Reader<'_, S>) -> Vec<String> {
    let mut unasked = r.unasked(PREFIX);
    unasked.retain(|name| !HEEDED.contains(&&name[PREFIX.len()..]));
    unasked
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn outbound<S: Strings>(r: &Reader<'_, S>, base: Settings) -> Outbound {
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
    }
}

fn inbound<S: Strings>(r: &Reader<'_, S>, base: Settings) -> Inbound {
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
        h2_server: server_h2(r, defaults.side, base),
    }
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
        profile_timeout: r.duration(
            &key("DESTINATION_PROFILE_INITIAL_TIMEOUT"),
            Duration::from_millis(500),
        ),
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

/// A duration that is no limit when it is unset or 0.
fn limit<S: Strings>(r: &Reader<'_, S>, name: &str) -> Option<Duration> {
    r.parsed(&key(name), parse_duration)
        .filter(|duration| !duration.is_zero())
}

/// What holds for HTTP/2 connections of both roles.
fn base_h2<S: Strings>(r: &Reader<'_, S>) -> Settings {
    let default = Settings::default();
    let window = |name: &str, default| within(r, &key(name), h2::WINDOWS).unwrap_or(default);
    Settings {
        stream_window: window("HTTP2_INITIAL_STREAM_WINDOW_SIZE", default.stream_window),
        connection_window: window(
            "HTTP2_INITIAL_CONNECTION_WINDOW_SIZE",
            default.connection_window,
        ),
        ..default
    }
}

/// What clients of one side get. `ADAPTIVE_FLOW_CONTROL` is not among it: windows are fixed.
fn server_h2<S: Strings>(r: &Reader<'_, S>, side: &str, base: Settings) -> Settings {
    let own = |name: &str| key(&format!("{side}_SERVER_HTTP2_{name}"));
    let window = |name: &str| within(r, &own(name), h2::WINDOWS);
    let time = |name: &str| limit(r, &format!("{side}_SERVER_HTTP2_{name}"));
    let interval = time("KEEP_ALIVE_INTERVAL");
    let timeout = time("KEEP_ALIVE_TIMEOUT").unwrap_or(DEFAULT_PING_TIMEOUT);
    Settings {
        stream_window: window("INITIAL_STREAM_WINDOW_SIZE").unwrap_or(base.stream_window),
        connection_window: window("INITIAL_CONNECTION_WINDOW_SIZE")
            .unwrap_or(base.connection_window),
        max_streams: r.number(&own("MAX_CONCURRENT_STREAMS"), base.max_streams),
        max_frame: within(r, &own("MAX_FRAME_SIZE"), h2::FRAME_SIZES).unwrap_or(base.max_frame),
        max_header_list: r.number(&own("MAX_HEADER_LIST_SIZE"), base.max_header_list),
        max_send_buffer: r.number(&own("MAX_SEND_BUF_SIZE"), base.max_send_buffer),
        max_reset_streams: r.parsed(&own("MAX_PENDING_ACCEPT_RESET_STREAMS"), parse_number),
        keep_alive: interval.map(|interval| KeepAlive {
            interval,
            timeout,
            while_idle: true,
        }),
    }
}

fn within<S: Strings>(r: &Reader<'_, S>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
    r.parsed(key, |text| {
        let number = parse_number(text)?;
        range
            .contains(&number)
            .then_some(number)
            .ok_or_else(|| format!("{text} is not in {}..={}", range.start(), range.end()))
    })
}

fn parse_net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not a network such as 10.0.0.0/8"))
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

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
