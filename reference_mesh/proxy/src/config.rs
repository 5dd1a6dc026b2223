//! What the environment asks of this proxy: the variables of linkerd2-proxy, with its defaults.

pub mod env;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;

use self::env::{BadVariable, Reader, Strings, parse_addr, parse_number, parse_ports};

const PREFIX: &str = "LINKERD2_PROXY_";

/// The environment cannot be used; the process exits with 64.
#[derive(Debug, Error)]
#[error("bad configuration: {}", list(.0))]
pub struct InvalidConfig(pub Vec<BadVariable>);

/// Everything that the proxy is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Traffic that the application sends.
    pub outbound: Outbound,
    /// Traffic for the application.
    pub inbound: Inbound,
    /// Who this proxy is, and how it proves it.
    pub identity: Identity,
    /// Where destinations and profiles are looked up.
    pub destination: ControlAddr,
    /// What may be looked up, and how.
    pub lookup: Lookup,
    /// Where policies are watched.
    pub policy: ControlAddr,
    /// Name of this workload for the policy controller; opaque.
    pub policy_workload: String,
    /// Admin listener.
    pub admin_addr: SocketAddr,
    /// How long drained connections may take.
    pub shutdown_grace: Duration,
    /// Whether `POST /shutdown` is served.
    pub shutdown_endpoint: bool,
    /// Limits of the control plane's streams.
    pub control_streams: ControlStreams,
    /// How long metrics of unused things are kept.
    pub metrics_retain_idle: Duration,
    /// HTTP/2 windows.
    pub h2: Http2,
}

/// Settings of one direction's listeners and connections.
#[derive(Clone, Debug)]
pub struct Direction {
    /// How long a new connection may say nothing before its protocol is decided.
    pub detect_timeout: Duration,
    /// How long a connection to an endpoint may take.
    pub connect_timeout: Duration,
    /// Pause between attempts to reach an endpoint.
    pub connect_backoff: Backoff,
    /// How long requests may wait for a ready endpoint.
    pub failfast_timeout: Duration,
    /// Requests that may wait.
    pub queue_capacity: usize,
    /// Requests under way before more are shed.
    pub max_in_flight: usize,
    /// How long a discovered target without connections is kept.
    pub discovery_idle: Duration,
    /// How long an unused HTTP/1 connection is kept.
    pub pool_idle: Duration,
    /// Unused HTTP/1 connections that are kept for one endpoint.
    pub max_idle_per_endpoint: usize,
    /// Keep-alive of accepted connections.
    pub accept_keepalive: Option<Duration>,
    /// Keep-alive of opened connections.
    pub connect_keepalive: Option<Duration>,
    /// How long bytes sent on accepted connections may stay unacknowledged.
    pub accept_user_timeout: Option<Duration>,
    /// How long bytes sent on opened connections may stay unacknowledged.
    pub connect_user_timeout: Option<Duration>,
    /// HTTP/2 streams of one connection at a time.
    pub h2_max_streams: Option<u32>,
}

/// Settings of traffic that the application sends.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Listeners, one per IP family.
    pub listen: Vec<SocketAddr>,
    /// Shared settings.
    pub direction: Direction,
    /// How long an opaque connection may wait for a ready endpoint.
    pub tcp_failfast_timeout: Duration,
    /// Whether responses carry no `l5d-proxy-error`.
    pub hide_proxy_errors: bool,
}

/// Settings of traffic for the application.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Listener.
    pub listen: SocketAddr,
    /// Shared settings.
    pub direction: Direction,
    /// Policy of ports of which the controller said nothing.
    pub default_policy: DefaultPolicy,
    /// Networks that `cluster-*` policies mean.
    pub cluster_networks: Vec<IpNet>,
    /// Ports that are watched from the start.
    pub ports: BTreeSet<u16>,
    /// Ports whose default policy is opaque.
    pub opaque_ports: BTreeSet<u16>,
    /// Ports whose default policy asks for an identity.
    pub require_identity_ports: BTreeSet<u16>,
    /// Ports whose default policy asks for TLS.
    pub require_tls_ports: BTreeSet<u16>,
    /// Addresses of this pod; others are not served. Empty serves any.
    pub own_ips: BTreeSet<IpAddr>,
}

/// What is allowed where the controller said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultPolicy {
    /// Nothing.
    Deny,
    /// Clients with an identity, of any network.
    AllAuthenticated,
    /// All.
    AllUnauthenticated,
    /// Clients with an identity, of the cluster's networks.
    ClusterAuthenticated,
    /// Clients of the cluster's networks.
    ClusterUnauthenticated,
    /// All, with a log line for those that `deny` would refuse.
    Audit,
}

/// A component of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlAddr {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Its identity; none for a loopback address, which is dialled in plain text.
    pub name: Option<String>,
}

/// Who this proxy is, and how it proves it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Directory of `key.p8` and `csr.der`.
    pub dir: PathBuf,
    /// Trust anchors, PEM text.
    pub trust_anchors: String,
    /// Token that is shown to the identity controller; read at each use.
    pub token_file: PathBuf,
    /// Own identity.
    pub local_name: String,
    /// The name that clients send as SNI.
    pub server_name: String,
    /// Identity controller.
    pub addr: ControlAddr,
    /// Bounds of the pause between two certificates.
    pub refresh: (Duration, Duration),
}

/// What may be looked up, and how.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Opaque text that is sent along with each lookup.
    pub context: String,
    /// Networks whose addresses have profiles and policies.
    pub networks: Vec<IpNet>,
    /// Name suffixes that have profiles, without a leading dot.
    pub suffixes: Vec<String>,
    /// Longest wait for a target's first profile.
    pub profile_timeout: Duration,
}

/// Pause between attempts: doubles from `min` to `max`, with a random share added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// First pause.
    pub min: Duration,
    /// Longest pause.
    pub max: Duration,
    /// Share of the pause that may be added, 0 or more.
    pub jitter_ratio: f64,
}

/// Limits of the control plane's streams; none is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlStreams {
    /// Until the first message.
    pub initial: Option<Duration>,
    /// Between messages.
    pub idle: Option<Duration>,
    /// From the first to the last byte.
    pub lifetime: Option<Duration>,
}

/// HTTP/2 windows, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// Of one stream.
    pub stream_window: u32,
    /// Of a connection.
    pub connection_window: u32,
}

// === impl Config ===

impl Config {
    /// Reads the whole configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`] with each variable that is missing or bad.
    pub fn from_env(strings: &impl Strings) -> Result<Self, InvalidConfig> {
        let reader = Reader::new(strings);
        let config = read(&reader);
        let bad = reader.into_bad();
        if bad.is_empty() {
            Ok(config)
        } else {
            Err(InvalidConfig(bad))
        }
    }
}

// === impl Backoff ===

impl Backoff {
    /// The pause after `failures` failures in a row, at least one.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = self
            .min
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        let base = doubled.min(self.max);
        base.mul_f64(1.0 + self.jitter_ratio * fastrand::f64())
    }
}

// === impl ControlAddr ===

impl ControlAddr {
    /// Whether this is the same host, so that plain text stays on it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.trim_end_matches('.') == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

fn list(bad: &[BadVariable]) -> String {
    bad.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn read<S: Strings>(r: &Reader<'_, S>) -> Config {
    let min_refresh = r.duration(&key("IDENTITY_MIN_REFRESH"), Duration::from_secs(10));
    let max_refresh = r.duration(&key("IDENTITY_MAX_REFRESH"), Duration::from_secs(86_400));
    Config {
        outbound: read_outbound(r),
        inbound: read_inbound(r),
        identity: read_identity(r, (min_refresh, max_refresh)),
        destination: read_control(r, "DESTINATION_SVC"),
        lookup: Lookup {
            context: r.text(&key("DESTINATION_CONTEXT")).unwrap_or_default(),
            networks: r.list(&key("DESTINATION_PROFILE_NETWORKS"), parse_net),
            suffixes: read_suffixes(r),
            profile_timeout: r.duration(
                &key("DESTINATION_PROFILE_INITIAL_TIMEOUT"),
                Duration::from_millis(500),
            ),
        },
        policy: read_control(r, "POLICY_SVC"),
        policy_workload: r.required(&key("POLICY_WORKLOAD")),
        admin_addr: r.addr(&key("ADMIN_LISTEN_ADDR"), local(4191)),
        shutdown_grace: r.duration(&key("SHUTDOWN_GRACE_PERIOD"), Duration::from_secs(120)),
        shutdown_endpoint: r.flag(&key("SHUTDOWN_ENDPOINT_ENABLED"), false),
        control_streams: ControlStreams {
            initial: optional_duration(r, "CONTROL_STREAM_INITIAL_TIMEOUT"),
            idle: optional_duration(r, "CONTROL_STREAM_IDLE_TIMEOUT"),
            lifetime: optional_duration(r, "CONTROL_STREAM_LIFETIME"),
        },
        metrics_retain_idle: r.duration(&key("METRICS_RETAIN_IDLE"), Duration::from_secs(600)),
        h2: Http2 {
            stream_window: r.number(&key("HTTP2_INITIAL_STREAM_WINDOW_SIZE"), 65_535),
            connection_window: r.number(&key("HTTP2_INITIAL_CONNECTION_WINDOW_SIZE"), 1 << 20),
        },
    }
}

fn read_outbound<S: Strings>(r: &Reader<'_, S>) -> Outbound {
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
        direction: read_direction(r, &OUTBOUND_DEFAULTS),
        tcp_failfast_timeout: r.duration(
            &key("OUTBOUND_TCP_FAILFAST_TIMEOUT"),
            Duration::from_secs(3),
        ),
        hide_proxy_errors: r.flag(&key("OUTBOUND_DISABLE_INFORMATIONAL_HEADERS"), false),
    }
}

fn read_inbound<S: Strings>(r: &Reader<'_, S>) -> Inbound {
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
        direction: read_direction(r, &INBOUND_DEFAULTS),
        default_policy,
        cluster_networks,
        ports: read_ports(r, "INBOUND_PORTS"),
        opaque_ports: read_ports(r, "INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION"),
        require_identity_ports: read_ports(r, "INBOUND_PORTS_REQUIRE_IDENTITY"),
        require_tls_ports: read_ports(r, "INBOUND_PORTS_REQUIRE_TLS"),
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

fn read_direction<S: Strings>(r: &Reader<'_, S>, defaults: &Defaults) -> Direction {
    let own = |name: &str| key(&format!("{}_{name}", defaults.side));
    let duration = |name: &str, default| r.duration(&own(name), default);
    let optional = |name: &str| {
        r.parsed(&own(name), env::parse_duration)
            .filter(|duration| !duration.is_zero())
    };
    Direction {
        detect_timeout: duration("DETECT_TIMEOUT", Duration::from_secs(10)),
        connect_timeout: duration("CONNECT_TIMEOUT", defaults.connect_timeout),
        connect_backoff: read_backoff(r, defaults.side, defaults.backoff_max),
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
        h2_max_streams: r.parsed(&own("SERVER_HTTP2_MAX_CONCURRENT_STREAMS"), parse_number),
    }
}

fn read_identity<S: Strings>(r: &Reader<'_, S>, refresh: (Duration, Duration)) -> Identity {
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
        addr: read_control(r, "IDENTITY_SVC"),
        refresh,
    }
}

fn read_control<S: Strings>(r: &Reader<'_, S>, service: &str) -> ControlAddr {
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

fn read_suffixes<S: Strings>(r: &Reader<'_, S>) -> Vec<String> {
    let suffixes = r.list(&key("DESTINATION_PROFILE_SUFFIXES"), |text| {
        Ok(text.trim_matches('.').to_ascii_lowercase())
    });
    if suffixes.is_empty() {
        vec!["svc.cluster.local".to_owned()]
    } else {
        suffixes
    }
}

fn read_backoff<S: Strings>(r: &Reader<'_, S>, side: &str, max: Duration) -> Backoff {
    let own = |name: &str| key(&format!("{side}_CONNECT_EXP_BACKOFF_{name}"));
    let backoff = Backoff {
        min: r.duration(&own("MIN"), Duration::from_millis(100)),
        max: r.duration(&own("MAX"), max),
        jitter_ratio: r.number(&own("JITTER"), 0.1),
    };
    if backoff.min > backoff.max {
        r.reject(&own("MIN"), "must not exceed the maximum");
    }
    if !(0.0..=100.0).contains(&backoff.jitter_ratio) {
        r.reject(&own("JITTER"), "must be between 0 and 100");
    }
    backoff
}

fn read_ports<S: Strings>(r: &Reader<'_, S>, name: &str) -> BTreeSet<u16> {
    r.list(&key(name), parse_ports)
        .into_iter()
        .flatten()
        .collect()
}

fn optional_duration<S: Strings>(r: &Reader<'_, S>, name: &str) -> Option<Duration> {
    r.parsed(&key(name), env::parse_duration)
        .filter(|duration| !duration.is_zero())
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

#[cfg(test)]
mod tests {
    use super::{Backoff, Config};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn minimal() -> BTreeMap<String, String> {
        [
            ("IDENTITY_DIR", "/id"),
            ("IDENTITY_TRUST_ANCHORS", "PEM"),
            ("IDENTITY_TOKEN_FILE", "/token"),
            (
                "IDENTITY_LOCAL_NAME",
                "web.ns.serviceaccount.identity.linkerd.cluster.local",
            ),
            ("IDENTITY_SVC_ADDR", "127.0.0.1:8080"),
            ("DESTINATION_SVC_ADDR", "localhost:8086"),
            ("POLICY_SVC_ADDR", "policy.linkerd.svc:8090"),
            ("POLICY_SVC_NAME", "policy.linkerd"),
            ("POLICY_WORKLOAD", "{}"),
        ]
        .map(|(key, value)| (format!("LINKERD2_PROXY_{key}"), value.to_owned()))
        .into()
    }

    #[test]
    fn the_mandatory_variables_are_enough() {
        let config = Config::from_env(&minimal()).expect("valid");
        assert_eq!(config.inbound.listen.port(), 4143);
        assert_eq!(
            config.outbound.listen,
            ["127.0.0.1:4140".parse().expect("addr")]
        );
        assert_eq!(config.identity.server_name, config.identity.local_name);
        assert_eq!(config.policy.name.as_deref(), Some("policy.linkerd"));
        assert_eq!(
            config.outbound.direction.failfast_timeout,
            Duration::from_secs(3)
        );
    }

    #[test]
    fn a_service_elsewhere_needs_a_name() {
        let mut env = minimal();
        env.insert("LINKERD2_PROXY_POLICY_SVC_NAME".into(), String::new());
        let error = Config::from_env(&env).expect_err("no name").to_string();
        assert!(error.contains("LINKERD2_PROXY_POLICY_SVC_NAME"), "{error}");
    }

    #[test]
    fn cluster_policies_need_networks() {
        let mut env = minimal();
        env.insert(
            "LINKERD2_PROXY_INBOUND_DEFAULT_POLICY".into(),
            "audit".into(),
        );
        assert!(Config::from_env(&env).is_err());
        env.insert(
            "LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS".into(),
            "10.0.0.0/8,fd00::/8".into(),
        );
        assert!(Config::from_env(&env).is_ok());
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let backoff = Backoff {
            min: Duration::from_millis(100),
            max: Duration::from_secs(1),
            jitter_ratio: 0.0,
        };
        let pauses = [1, 2, 3, 4, 5, 99].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
    }
}
