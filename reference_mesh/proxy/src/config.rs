//! What the environment asks of this proxy: the variables of linkerd2-proxy, with its defaults.

mod cores;
pub mod env;
mod http2;
mod read;
mod traffic;
mod unheeded;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;

use self::env::{BadVariable, Reader, Strings};
use crate::discovery::Suffix;
use crate::http::h2;
use crate::telemetry::access_log;

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
    /// Threads that carry traffic.
    pub cores: NonZeroUsize,
    /// Limits of the control plane's streams.
    pub control_streams: ControlStreams,
    /// How long metrics of unused things are kept.
    pub metrics_retain_idle: Duration,
    /// HTTP/2 connections to endpoints of which the control plane says nothing.
    pub h2: h2::Settings,
    /// Bounds of the time for which an answer of DNS is used.
    pub dns_ttl: (Option<Duration>, Option<Duration>),
    /// Variables of linkerd2-proxy, or misspelt ones, that are set and that nothing comes of.
    pub unheeded: Vec<String>,
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
    /// HTTP/2 connections of clients.
    pub h2_server: h2::Settings,
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
    /// Whether metrics of routes say which hosts were asked for.
    pub hostname_labels: bool,
    /// Whether requests go to the service that their `l5d-dst-override` names.
    pub ingress_mode: bool,
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
    /// Whether metrics of requests say which authorities were asked for.
    pub authority_labels: bool,
    /// How requests are written to standard error, if they are.
    pub access_log: Option<access_log::Format>,
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
    /// Networks whose addresses have profiles.
    pub networks: Vec<IpNet>,
    /// Suffixes of the names that are looked up.
    pub suffixes: Vec<Suffix>,
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

// === impl Config ===

impl Config {
    /// Reads the whole configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`] with each variable that is missing or bad.
    pub fn from_env(strings: &impl Strings) -> Result<Self, InvalidConfig> {
        let reader = Reader::new(strings);
        let config = read::config(&reader);
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

#[cfg(test)]
mod tests {
    use super::{Backoff, Config};
    use crate::telemetry::access_log::Format;
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
    fn http_2_is_set_by_direction() {
        let mut env = minimal();
        let mut set = |key: &str, value: &str| {
            env.insert(format!("LINKERD2_PROXY_{key}"), value.to_owned());
        };
        set("HTTP2_INITIAL_STREAM_WINDOW_SIZE", "100000");
        set("INBOUND_SERVER_HTTP2_MAX_CONCURRENT_STREAMS", "7");
        set("INBOUND_SERVER_HTTP2_INITIAL_STREAM_WINDOW_SIZE", "200000");
        set("INBOUND_SERVER_HTTP2_MAX_FRAME_SIZE", "32768");
        set("INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL", "10s");
        set("INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT", "3s");
        let config = Config::from_env(&env).expect("valid");
        let inbound = config.inbound.direction.h2_server;
        assert_eq!((inbound.max_streams, inbound.max_frame), (7, 32_768));
        assert_eq!(inbound.stream_window, 200_000);
        let pings = inbound.keep_alive.expect("set");
        assert_eq!(pings.interval, Duration::from_secs(10));
        assert_eq!(pings.timeout, Duration::from_secs(3));
        let outbound = config.outbound.direction.h2_server;
        assert_eq!(outbound.stream_window, 100_000, "from the base");
        assert_eq!(outbound.keep_alive, None, "only where it is set");
        assert_eq!(config.h2.keep_alive, None);
    }

    #[test]
    fn an_access_log_that_is_unknown_keeps_nobody_from_starting() {
        for (text, format) in [
            ("", None),
            ("apache", Some(Format::Apache)),
            ("JSON", Some(Format::Json)),
            ("combined", None),
        ] {
            let mut env = minimal();
            env.insert("LINKERD2_PROXY_ACCESS_LOG".into(), text.to_owned());
            let config = Config::from_env(&env).expect("valid");
            assert_eq!(config.inbound.access_log, format, "{text:?}");
        }
    }

    #[test]
    fn http_2_sizes_are_within_what_the_protocol_allows() {
        for (key, bad) in [
            ("INBOUND_SERVER_HTTP2_MAX_FRAME_SIZE", "16383"),
            ("OUTBOUND_SERVER_HTTP2_MAX_FRAME_SIZE", "16777216"),
            ("HTTP2_INITIAL_STREAM_WINDOW_SIZE", "2147483648"),
            ("HTTP2_INITIAL_CONNECTION_WINDOW_SIZE", "0"),
        ] {
            let mut env = minimal();
            env.insert(format!("LINKERD2_PROXY_{key}"), bad.to_owned());
            let error = Config::from_env(&env)
                .expect_err("out of range")
                .to_string();
            assert!(error.contains(key) && error.contains(bad), "{error}");
        }
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
