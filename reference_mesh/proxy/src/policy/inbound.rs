//! Policy for traffic that enters the pod: how a port is read and who may use it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Meta;
use super::matching::{self, HostMatch, Request, RequestMatch};
use super::outbound::Filter;
use crate::config;
use crate::identity::Id;
use crate::mutants::{self, Mutant};

/// The policy of one inbound port.
#[derive(Clone, Debug)]
pub struct ServerPolicy {
    /// The Server resource or default policy; the `srv_*` labels.
    pub meta: Arc<Meta>,
    /// How connections are read.
    pub protocol: Protocol,
    /// Who may connect. HTTP requests are judged by their route's authorizations instead.
    pub authorizations: Arc<[Authorization]>,
}

/// How the connections of a port are read.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// Look at the first bytes.
    Detect {
        /// How long to wait for them before the connection is opaque.
        timeout: Duration,
        /// Routes when HTTP is found.
        http: Http,
    },
    /// HTTP/1 (peers may still upgrade it to HTTP/2 between proxies).
    Http1(Http),
    /// HTTP/2 without detection.
    Http2(Http),
    /// gRPC without detection.
    Grpc(Http),
    /// Bytes, without looking for TLS.
    Opaque,
    /// TLS of the application.
    Tls,
    /// The control plane's message broke the rules; requests get a 500 with the text.
    Invalid(Arc<str>),
}

/// HTTP routes of a port, and its rate limit.
#[derive(Clone, Debug)]
pub struct Http {
    /// Routes, never empty, in the control plane's order.
    pub routes: Arc<[Route]>,
    /// Requests per second that this proxy lets in.
    pub rate_limit: Option<Arc<RateLimit>>,
}

/// One inbound route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The route's resource; the `route_*` labels.
    pub meta: Arc<Meta>,
    /// Hosts; none matches all.
    pub hosts: Vec<HostMatch>,
    /// Who may send requests on it.
    pub authorizations: Arc<[Authorization]>,
    /// Rules; none matches all.
    pub rules: Vec<Rule>,
}

/// One rule of an inbound route.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Alternatives; none matches all.
    pub matches: Vec<RequestMatch>,
    /// Filters, in order.
    pub filters: Vec<Filter>,
}

/// One way to be let in: from these networks and with this authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The authorization's resource; the `authz_*` labels.
    pub meta: Arc<Meta>,
    /// Client networks.
    pub networks: Vec<Network>,
    /// What the client must prove.
    pub authentication: Authentication,
}

/// A network without some parts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Addresses that match …
    pub net: IpNet,
    /// … unless they are in one of these.
    pub except: Vec<IpNet>,
}

/// What a client must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing.
    Unauthenticated,
    /// That it speaks mesh TLS, even without a certificate.
    TlsUnauthenticated,
    /// An identity.
    TlsAuthenticated {
        /// Any of these names.
        identities: Vec<Arc<str>>,
        /// Or a name below any of these suffixes; one without labels is any name.
        suffixes: Vec<Suffix>,
    },
}

/// The labels that a name must end with; `*.a.b` is `[a, b]`, `*` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix {
    /// `.a.b`, or empty for any name.
    dotted: Arc<str>,
}

/// Requests per second, for all clients and for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The rate limit's resource.
    pub meta: Arc<Meta>,
    /// Of all clients together.
    pub total_rps: Option<u32>,
    /// Of each client identity; clients without one share a bucket.
    pub identity_rps: Option<u32>,
    /// Of the named identities, each.
    pub overrides: Vec<(Vec<Id>, u32)>,
}

/// What is known of a client when it asks to be let in.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// Mesh TLS, if the connection has it.
    pub tls: ClientTls<'a>,
}

/// The TLS of a client, as policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTls<'a> {
    /// None that this proxy terminated.
    None,
    /// Terminated; the identity that its certificate proved, if it showed one.
    Established(Option<&'a Id>),
}

// === impl Authorization ===

impl Authorization {
    /// Whether it lets this client in.
    #[must_use]
    pub fn permits(&self, client: &Client<'_>) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(client.ip))
            && self.authentication.holds(client.tls)
    }

    /// Whether it lets in what the default policy would not, only to say so in the log.
    #[must_use]
    pub fn is_audit(&self) -> bool {
        matches!(&*self.meta, Meta::Default(name) if &**name == "audit")
    }
}

/// The first authorization that lets the client in; none denies.
#[must_use]
pub fn authorize<'a>(
    authorizations: &'a [Authorization],
    client: &Client<'_>,
) -> Option<&'a Authorization> {
    let found = authorizations
        .iter()
        .find(|authorization| authorization.permits(client));
    if mutants::active(Mutant::AllowAllAuthz) {
        found.or(authorizations.first())
    } else {
        found
    }
}

// === impl Network ===

impl Network {
    /// Whether the address is in the network and in no exception.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        // A dual-stack listener sees IPv4 clients as mapped addresses.
        let ip = ip.to_canonical();
        self.net.contains(&ip) && !self.except.iter().any(|except| except.contains(&ip))
    }
}

// === impl Authentication ===

impl Authentication {
    fn holds(&self, tls: ClientTls<'_>) -> bool {
        match (self, tls) {
            (Self::Unauthenticated, _) | (Self::TlsUnauthenticated, ClientTls::Established(_)) => {
                true
            }
            (
                Self::TlsAuthenticated {
                    identities,
                    suffixes,
                },
                ClientTls::Established(Some(id)),
            ) => {
                identities.iter().any(|name| **name == *id.as_str())
                    || suffixes.iter().any(|suffix| suffix.matches(id))
                    || mutants::active(Mutant::TrustAnyClientId)
            }
            _ => false,
        }
    }
}

// === impl Suffix ===

impl Suffix {
    /// The suffix of these labels, in reading order.
    #[must_use]
    pub fn new(labels: &[String]) -> Self {
        let dotted: String = labels.iter().flat_map(|label| [".", label]).collect();
        Self {
            dotted: dotted.into(),
        }
    }

    /// Whether the identity is below the suffix: at least one label more.
    #[must_use]
    pub fn matches(&self, id: &Id) -> bool {
        let suffix = if mutants::active(Mutant::SuffixMatchTooWide) {
            self.dotted.trim_start_matches('.')
        } else {
            &self.dotted
        };
        let name = id.as_str();
        name.len() > suffix.len() && name.ends_with(suffix)
    }
}

// === impl Http ===

impl Http {
    /// The route and rule that match best, and how many bytes of the path the rule matched; the rule
    /// is none for a route without rules.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> Option<(&Route, Option<&Rule>, usize)> {
        let candidates = self.routes.iter().filter_map(|route| {
            let host = matching::best_host(&route.hosts, request.host)?;
            if route.rules.is_empty() {
                return Some((matching::Specificity::of_host(host), (route, None)));
            }
            let rules = route.rules.iter().filter_map(|rule| {
                let specificity = matching::best_match(&rule.matches, host, request)?;
                Some((specificity, (route, Some(rule))))
            });
            matching::first_best(rules)
        });
        matching::first_best(candidates)
            .map(|(specificity, (route, rule))| (route, rule, specificity.path_len()))
    }
}

// === impl ServerPolicy ===

impl ServerPolicy {
    /// A policy that refuses all, and says why.
    #[must_use]
    pub fn invalid(message: impl Into<Arc<str>>) -> Self {
        Self {
            meta: Meta::default_named("invalid"),
            protocol: Protocol::Invalid(message.into()),
            authorizations: Arc::new([]),
        }
    }

    /// What holds for a port until the controller says otherwise.
    #[must_use]
    pub fn default_for(config: &config::Inbound, port: u16) -> Self {
        let (name, mut authorizations) = default_authorizations(config, port);
        authorizations.push(Authorization::loopback());
        let authorizations: Arc<[_]> = authorizations.into();
        let protocol = if config.opaque_ports.contains(&port) {
            Protocol::Opaque
        } else {
            let routes = Arc::new([Route::any(authorizations.clone())]);
            let http = Http {
                routes,
                rate_limit: None,
            };
            Protocol::Detect {
                timeout: config.direction.detect_timeout,
                http,
            }
        };
        Self {
            meta: Meta::default_named(name),
            protocol,
            authorizations,
        }
    }
}

/// The default's name and what it allows. Ports that require TLS or an identity narrow it.
fn default_authorizations(
    config: &config::Inbound,
    port: u16,
) -> (&'static str, Vec<Authorization>) {
    use config::DefaultPolicy;
    let any = [
        IpNet::from(Ipv4Net::default()),
        IpNet::from(Ipv6Net::default()),
    ];
    let allow = |name: &str, networks: &[IpNet], authentication: Authentication| {
        let narrowed = match authentication {
            _ if config.require_identity_ports.contains(&port) => Authentication::any_identity(),
            Authentication::Unauthenticated if config.require_tls_ports.contains(&port) => {
                Authentication::TlsUnauthenticated
            }
            authentication => authentication,
        };
        let networks = networks.iter().map(|net| Network {
            net: *net,
            except: Vec::new(),
        });
        vec![Authorization {
            meta: Meta::default_named(name),
            networks: networks.collect(),
            authentication: narrowed,
        }]
    };
    let name = default_name(config.default_policy);
    let list = match config.default_policy {
        DefaultPolicy::Deny => Vec::new(),
        DefaultPolicy::AllAuthenticated => allow(name, &any, Authentication::any_identity()),
        DefaultPolicy::AllUnauthenticated | DefaultPolicy::Audit => {
            allow(name, &any, Authentication::Unauthenticated)
        }
        DefaultPolicy::ClusterAuthenticated => allow(
            name,
            &config.cluster_networks,
            Authentication::any_identity(),
        ),
        DefaultPolicy::ClusterUnauthenticated => allow(
            name,
            &config.cluster_networks,
            Authentication::Unauthenticated,
        ),
    };
    (name, list)
}

/// As `INBOUND_DEFAULT_POLICY` spells it.
fn default_name(policy: config::DefaultPolicy) -> &'static str {
    use config::DefaultPolicy;
    match policy {
        DefaultPolicy::Deny => "deny",
        DefaultPolicy::AllAuthenticated => "all-authenticated",
        DefaultPolicy::AllUnauthenticated => "all-unauthenticated",
        DefaultPolicy::ClusterAuthenticated => "cluster-authenticated",
        DefaultPolicy::ClusterUnauthenticated => "cluster-unauthenticated",
        DefaultPolicy::Audit => "audit",
    }
}

impl Authentication {
    /// Any identity.
    #[must_use]
    pub fn any_identity() -> Self {
        Self::TlsAuthenticated {
            identities: Vec::new(),
            suffixes: vec![Suffix::new(&[])],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Client, ClientTls, Protocol, ServerPolicy, Suffix, authorize};
    use crate::config::Config;
    use crate::identity::Id;

    /// Whether the default policy of port 80 lets in: a client of the cluster, one of elsewhere,
    /// each without TLS and with an identity.
    fn admits(variables: &[(&str, &str)]) -> [bool; 4] {
        let policy = default_policy(variables, 80);
        let id = Id::parse("a.b").expect("valid");
        let ask = |ip: &str, tls| {
            let client = Client {
                ip: ip.parse().expect("valid"),
                tls,
            };
            authorize(&policy.authorizations, &client).is_some()
        };
        let known = ClientTls::Established(Some(&id));
        let none = ClientTls::None;
        [
            ask("10.0.0.9", none),
            ask("10.0.0.9", known),
            ask("192.0.2.9", none),
            ask("192.0.2.9", known),
        ]
    }

    fn default_policy(variables: &[(&str, &str)], port: u16) -> ServerPolicy {
        let always = [
            ("IDENTITY_DIR", "/nowhere"),
            ("IDENTITY_TRUST_ANCHORS", "x"),
            ("IDENTITY_TOKEN_FILE", "/nowhere"),
            ("IDENTITY_LOCAL_NAME", "a.b"),
            ("IDENTITY_SVC_ADDR", "127.0.0.1:1"),
            ("DESTINATION_SVC_ADDR", "127.0.0.1:1"),
            ("POLICY_SVC_ADDR", "127.0.0.1:1"),
            ("POLICY_WORKLOAD", "x"),
            ("POLICY_CLUSTER_NETWORKS", "10.0.0.0/8"),
        ];
        let env: BTreeMap<_, _> = always
            .iter()
            .chain(variables)
            .map(|(key, value)| (format!("LINKERD2_PROXY_{key}"), (*value).to_owned()))
            .collect();
        let config = Config::from_env(&env).expect("complete");
        ServerPolicy::default_for(&config.inbound, port)
    }

    #[test]
    fn defaults_admit_what_their_names_say() {
        for (policy, wanted) in [
            ("deny", [false; 4]),
            ("audit", [true; 4]),
            ("all-unauthenticated", [true; 4]),
            ("all-authenticated", [false, true, false, true]),
            ("cluster-unauthenticated", [true, true, false, false]),
            ("cluster-authenticated", [false, true, false, false]),
        ] {
            assert_eq!(
                admits(&[("INBOUND_DEFAULT_POLICY", policy)]),
                wanted,
                "{policy}"
            );
            let name = default_policy(&[("INBOUND_DEFAULT_POLICY", policy)], 80);
            assert_eq!(name.meta.name(), policy);
        }
        let narrowed = [
            ("INBOUND_DEFAULT_POLICY", "all-unauthenticated"),
            ("INBOUND_PORTS_REQUIRE_IDENTITY", "80"),
        ];
        assert_eq!(admits(&narrowed), [false, true, false, true]);
    }

    #[test]
    fn opaque_ports_are_opaque_from_the_start() {
        let variables = [("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", "25,80")];
        assert!(matches!(
            default_policy(&variables, 80).protocol,
            Protocol::Opaque
        ));
        assert!(matches!(
            default_policy(&variables, 81).protocol,
            Protocol::Detect { .. }
        ));
    }

    #[test]
    fn audit_is_recognised() {
        let policy = default_policy(&[("INBOUND_DEFAULT_POLICY", "audit")], 80);
        assert!(policy.authorizations[0].is_audit());
        assert!(
            !policy.authorizations[1].is_audit(),
            "loopback needs no audit"
        );
    }

    #[test]
    fn a_suffix_needs_a_label_more() {
        let id = |text: &str| Id::parse(text).expect("valid");
        let suffix = Suffix::new(&["a".to_owned(), "b".to_owned()]);
        assert!(suffix.matches(&id("x.a.b")));
        assert!(!suffix.matches(&id("a.b")) && !suffix.matches(&id("xa.b")));
        assert!(Suffix::new(&[]).matches(&id("x")));
    }
}
