//! Reading inbound policies.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use linkerd2_proxy_api::{inbound as pb, net};

use super::Meta;
use super::inbound::{
    Authentication, Authorization, Http, Network, Protocol, RateLimit, Route, Rule, ServerPolicy,
    Suffix,
};
use super::outbound::Filter;
use super::proto::{
    Invalid, duration, each, fail_grpc, fail_http, grpc_match, host, http_match, redirect,
    request_headers, required,
};
use crate::identity::Id;

impl TryFrom<pb::Server> for ServerPolicy {
    type Error = Invalid;

    fn try_from(value: pb::Server) -> Result<Self, Invalid> {
        let mut authorizations = each(value.authorizations, authorization)?;
        authorizations.push(Authorization::loopback());
        let authorizations: Arc<[_]> = authorizations.into();
        let kind = value.protocol.and_then(|protocol| protocol.kind);
        let protocol = match required(kind, "protocol")? {
            pb::proxy_protocol::Kind::Detect(detect) => {
                let timeout = required(detect.timeout, "protocol detection timeout")?;
                Protocol::Detect {
                    timeout: duration(timeout, "protocol detection timeout")?,
                    http: http(
                        detect.http_routes,
                        detect.http_local_rate_limit,
                        &authorizations,
                    )?,
                }
            }
            pb::proxy_protocol::Kind::Http1(value) => {
                Protocol::Http1(http(value.routes, value.local_rate_limit, &authorizations)?)
            }
            pb::proxy_protocol::Kind::Http2(value) => {
                Protocol::Http2(http(value.routes, value.local_rate_limit, &authorizations)?)
            }
            pb::proxy_protocol::Kind::Grpc(value) => {
                let routes = each(value.routes, |route| grpc_route(route, &authorizations))?;
                let routes = or_default(routes, &authorizations);
                Protocol::Grpc(Http {
                    routes,
                    rate_limit: None,
                })
            }
            pb::proxy_protocol::Kind::Opaque(_) => Protocol::Opaque,
            pb::proxy_protocol::Kind::Tls(_) => Protocol::Tls,
        };
        Ok(Self {
            meta: labels_meta(&value.labels, "server"),
            protocol,
            authorizations,
        })
    }
}

/// Older control planes name resources by labels.
fn labels_meta(labels: &HashMap<String, String>, default_kind: &str) -> Arc<Meta> {
    let label = |key: &str, default: &str| -> Arc<str> {
        labels.get(key).map_or(default, String::as_str).into()
    };
    let name = label("name", "");
    if labels.get("kind").is_some_and(|kind| kind == "default") {
        return Arc::new(Meta::Default(name));
    }
    Arc::new(Meta::Resource {
        group: label("group", "policy.linkerd.io"),
        kind: label("kind", default_kind),
        name,
        namespace: "".into(),
        section: "".into(),
        port: None,
    })
}

fn http(
    routes: Vec<pb::HttpRoute>,
    limit: Option<pb::HttpLocalRateLimit>,
    authorizations: &Arc<[Authorization]>,
) -> Result<Http, Invalid> {
    let routes = each(routes, |route| http_route(route, authorizations))?;
    let rate_limit = limit.map(rate_limit).map(Arc::new);
    Ok(Http {
        routes: or_default(routes, authorizations),
        rate_limit,
    })
}

fn or_default(routes: Vec<Route>, authorizations: &Arc<[Authorization]>) -> Arc<[Route]> {
    if routes.is_empty() {
        Arc::new([Route::any(authorizations.clone())])
    } else {
        routes.into()
    }
}

fn http_route(route: pb::HttpRoute, server: &[Authorization]) -> Result<Route, Invalid> {
    use pb::http_route::filter::Kind;
    let rules = each(route.rules, |rule| {
        let filters = each(rule.filters, |filter| match filter.kind {
            None => Ok(Filter::Unknown),
            Some(Kind::FailureInjector(value)) => fail_http(value),
            Some(Kind::RequestHeaderModifier(value)) => request_headers(value),
            Some(Kind::Redirect(value)) => redirect(value),
        })?;
        Ok(Rule {
            matches: each(rule.matches, http_match)?,
            filters,
        })
    })?;
    Ok(Route {
        meta: Meta::inbound(route.metadata)?,
        hosts: each(route.hosts, host)?,
        authorizations: route_authorizations(route.authorizations, server)?,
        rules,
    })
}

fn grpc_route(route: pb::GrpcRoute, server: &[Authorization]) -> Result<Route, Invalid> {
    use pb::grpc_route::filter::Kind;
    let rules = each(route.rules, |rule| {
        let filters = each(rule.filters, |filter| match filter.kind {
            None => Ok(Filter::Unknown),
            Some(Kind::FailureInjector(value)) => fail_grpc(value),
            Some(Kind::RequestHeaderModifier(value)) => request_headers(value),
        })?;
        Ok(Rule {
            matches: each(rule.matches, grpc_match)?,
            filters,
        })
    })?;
    Ok(Route {
        meta: Meta::inbound(route.metadata)?,
        hosts: each(route.hosts, host)?,
        authorizations: route_authorizations(route.authorizations, server)?,
        rules,
    })
}

/// A route's authorizations extend those of its server, which come after: the first that lets a client
/// in is what metrics name.
fn route_authorizations(
    list: Vec<pb::Authz>,
    server: &[Authorization],
) -> Result<Arc<[Authorization]>, Invalid> {
    let own = each(list, authorization)?;
    Ok(own.into_iter().chain(server.iter().cloned()).collect())
}

fn authorization(value: pb::Authz) -> Result<Authorization, Invalid> {
    let meta = match value.metadata {
        Some(metadata) => Meta::inbound(Some(metadata))?,
        None => labels_meta(&value.labels, "serverauthorization"),
    };
    if value.networks.is_empty() {
        return Err(Invalid::new("missing networks of an authorization"));
    }
    Ok(Authorization {
        meta,
        networks: each(value.networks, network)?,
        authentication: authentication(value.authentication)?,
    })
}

fn network(value: pb::Network) -> Result<Network, Invalid> {
    Ok(Network {
        net: ip_net(value.net)?,
        except: each(value.except, |net| ip_net(Some(net)))?,
    })
}

fn ip_net(value: Option<net::IpNetwork>) -> Result<IpNet, Invalid> {
    let value = required(value, "network")?;
    IpNet::try_from(value).map_err(|error| Invalid::new(error.to_string()))
}

fn authentication(value: Option<pb::Authn>) -> Result<Authentication, Invalid> {
    use pb::authn::Permit;
    use pb::authn::permit_mesh_tls::Clients;
    let permit = required(value.and_then(|value| value.permit), "authentication")?;
    let Permit::MeshTls(tls) = permit else {
        return Ok(Authentication::Unauthenticated);
    };
    match required(tls.clients, "mesh TLS clients")? {
        Clients::Unauthenticated(_) => Ok(Authentication::TlsUnauthenticated),
        Clients::Identities(value) => Ok(Authentication::TlsAuthenticated {
            identities: value
                .identities
                .into_iter()
                .map(|id| id.name.into())
                .collect(),
            suffixes: value
                .suffixes
                .into_iter()
                .map(|suffix| Suffix::new(&suffix.parts))
                .collect(),
        }),
    }
}

/// What cannot be read of a limit is left out, and its clients are held to what holds for all and for
/// each. No port is refused for it.
fn rate_limit(value: pb::HttpLocalRateLimit) -> RateLimit {
    let rps = |limit: Option<pb::http_local_rate_limit::Limit>| {
        limit
            .map(|limit| limit.requests_per_second)
            .filter(|rps| *rps > 0)
    };
    let mut overrides = Vec::new();
    let mut left_out = Vec::new();
    for value in value.overrides {
        let Some(limit) = rps(value.limit) else {
            left_out.push("an override without a rate".to_owned());
            continue;
        };
        let mut clients = Vec::new();
        for id in value.clients.unwrap_or_default().identities {
            match Id::parse(&id.name) {
                Ok(id) => clients.push(id),
                Err(error) => left_out.push(format!("the client {:?}: {error}", id.name)),
            }
        }
        overrides.push((clients, limit));
    }
    let meta = Meta::inbound(value.metadata).unwrap_or_else(|_| Meta::default_named(""));
    if !left_out.is_empty() {
        let left_out = left_out.join("; ");
        tracing::warn!(limit = meta.name(), left_out, "Rate limit not read in full");
    }
    RateLimit {
        meta,
        total_rps: rps(value.total),
        identity_rps: rps(value.identity),
        overrides,
    }
}

impl Authorization {
    /// What is always allowed: the pod itself.
    #[must_use]
    pub fn loopback() -> Self {
        let host = |ip: IpAddr| Network {
            net: ip.into(),
            except: Vec::new(),
        };
        Self {
            meta: Meta::default_named("localhost"),
            networks: vec![
                host(Ipv4Addr::LOCALHOST.into()),
                host(Ipv6Addr::LOCALHOST.into()),
            ],
            authentication: Authentication::Unauthenticated,
        }
    }
}

impl Route {
    /// A route for all requests.
    #[must_use]
    pub fn any(authorizations: Arc<[Authorization]>) -> Self {
        Self {
            meta: Meta::default_named("default"),
            hosts: Vec::new(),
            authorizations,
            rules: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Authentication, ServerPolicy};
    use crate::identity::Id;
    use crate::policy::inbound::{Client, ClientTls, Protocol, authorize};
    use crate::policy::matching::Request;
    use http::{HeaderMap, Method, Uri};
    use linkerd2_proxy_api::http_route::{HttpRouteMatch, PathMatch, path_match};
    use linkerd2_proxy_api::meta::{Metadata, metadata};
    use linkerd2_proxy_api::{inbound as pb, net};

    fn net(text: &str) -> net::IpNetwork {
        text.parse::<ipnet::IpNet>().expect("valid").into()
    }

    fn meta(name: &str) -> Option<Metadata> {
        Some(Metadata {
            kind: Some(metadata::Kind::Default(name.to_owned())),
        })
    }

    fn authz(name: &str, within: &str, except: &[&str], permit: pb::authn::Permit) -> pb::Authz {
        let except = except.iter().map(|text| net(text)).collect();
        pb::Authz {
            networks: vec![pb::Network {
                net: Some(net(within)),
                except,
            }],
            authentication: Some(pb::Authn {
                permit: Some(permit),
            }),
            metadata: meta(name),
            ..Default::default()
        }
    }

    fn unauthenticated() -> pb::authn::Permit {
        pb::authn::Permit::Unauthenticated(Default::default())
    }

    fn identities(names: &[&str], suffixes: &[&[&str]]) -> pb::authn::Permit {
        use pb::authn::permit_mesh_tls::{Clients, PermitClientIdentities};
        let owned = |text: &&str| (*text).to_owned();
        let identities = names.iter().map(|name| pb::Identity { name: owned(name) });
        let suffixes = suffixes.iter().map(|parts| pb::IdentitySuffix {
            parts: parts.iter().map(owned).collect(),
        });
        let clients = PermitClientIdentities {
            identities: identities.collect(),
            suffixes: suffixes.collect(),
        };
        let clients = Some(Clients::Identities(clients));
        pb::authn::Permit::MeshTls(pb::authn::PermitMeshTls { clients })
    }

    fn server(authorizations: Vec<pb::Authz>, routes: Vec<pb::HttpRoute>) -> ServerPolicy {
        let detect = pb::proxy_protocol::Detect {
            timeout: Some(prost_types::Duration {
                seconds: 10,
                nanos: 0,
            }),
            http_routes: routes,
            http_local_rate_limit: None,
        };
        let kind = Some(pb::proxy_protocol::Kind::Detect(detect));
        let server = pb::Server {
            protocol: Some(pb::ProxyProtocol { kind }),
            authorizations,
            ..Default::default()
        };
        ServerPolicy::try_from(server).expect("valid")
    }

    /// The name of the authorization that lets the client in.
    fn allowed_by(policy: &ServerPolicy, ip: &str, tls: ClientTls<'_>) -> Option<String> {
        let client = Client {
            ip: ip.parse().expect("valid"),
            tls,
        };
        authorize(&policy.authorizations, &client).map(|authz| authz.meta.name().to_owned())
    }

    #[test]
    fn networks_have_exceptions_and_loopback_has_none() {
        let list = vec![authz(
            "net",
            "10.0.0.0/8",
            &["10.9.0.0/16"],
            unauthenticated(),
        )];
        let policy = server(list, Vec::new());
        let allowed = |ip| allowed_by(&policy, ip, ClientTls::None);
        assert_eq!(allowed("10.1.2.3").as_deref(), Some("net"));
        assert_eq!(allowed("::ffff:10.1.2.3").as_deref(), Some("net"));
        assert_eq!(allowed("10.9.2.3"), None);
        assert_eq!(allowed("192.168.0.1"), None);
        assert_eq!(allowed("127.0.0.1").as_deref(), Some("localhost"));
        assert_eq!(allowed("::1").as_deref(), Some("localhost"));
    }

    #[test]
    fn identities_match_whole_and_suffixes_by_label() {
        let permit = identities(&["a.x.cluster.local"], &[&["prod", "cluster", "local"]]);
        let policy = server(vec![authz("ids", "0.0.0.0/0", &[], permit)], Vec::new());
        let allowed = |name: &str| {
            let id = Id::parse(name).expect("valid");
            allowed_by(&policy, "10.0.0.1", ClientTls::Established(Some(&id))).is_some()
        };
        assert!(allowed("a.x.cluster.local"));
        assert!(allowed("b.c.prod.cluster.local"));
        assert!(!allowed("b.x.cluster.local"));
        assert!(!allowed("x.a.x.cluster.local"));
        assert!(!allowed("notprod.cluster.local"));
        assert!(!allowed("prod.cluster.local"));
        assert_eq!(
            allowed_by(&policy, "10.0.0.1", ClientTls::Established(None)),
            None
        );
        assert_eq!(allowed_by(&policy, "10.0.0.1", ClientTls::None), None);
    }

    #[test]
    fn an_empty_suffix_is_any_identity_but_needs_one() {
        let permit = identities(&[], &[&[]]);
        let policy = server(vec![authz("any", "0.0.0.0/0", &[], permit)], Vec::new());
        assert_eq!(
            policy.authorizations[0].authentication,
            Authentication::any_identity()
        );
        let id = Id::parse("a.b").expect("valid");
        let with = allowed_by(&policy, "10.0.0.1", ClientTls::Established(Some(&id)));
        assert_eq!(with.as_deref(), Some("any"));
        assert_eq!(
            allowed_by(&policy, "10.0.0.1", ClientTls::Established(None)),
            None
        );
    }

    #[test]
    fn probes_have_a_route_of_their_own() {
        let route = |name: &str, path: path_match::Kind, authorizations| pb::HttpRoute {
            metadata: meta(name),
            hosts: Vec::new(),
            authorizations,
            rules: vec![pb::http_route::Rule {
                matches: vec![HttpRouteMatch {
                    path: Some(PathMatch { kind: Some(path) }),
                    ..Default::default()
                }],
                filters: Vec::new(),
            }],
        };
        let probe = vec![authz("probe", "10.0.0.1/32", &[], unauthenticated())];
        let policy = server(
            Vec::new(),
            vec![
                route(
                    "default",
                    path_match::Kind::Prefix("/".to_owned()),
                    Vec::new(),
                ),
                route("probe", path_match::Kind::Exact("/live".to_owned()), probe),
            ],
        );
        let Protocol::Detect { http, .. } = &policy.protocol else {
            panic!("{policy:?}")
        };
        let allowed = |path: &str| {
            let request = Request {
                host: None,
                uri: &path.parse::<Uri>().expect("valid"),
                method: &Method::GET,
                headers: &HeaderMap::new(),
            };
            let (route, ..) = http.find(&request).expect("the default takes all");
            let ip = "10.0.0.1".parse().expect("valid");
            authorize(
                &route.authorizations,
                &Client {
                    ip,
                    tls: ClientTls::None,
                },
            )
            .is_some()
        };
        assert!(allowed("/live"));
        assert!(!allowed("/live/x") && !allowed("/"));
    }

    /// A server that speaks one protocol.
    fn speaking(kind: pb::proxy_protocol::Kind) -> pb::Server {
        pb::Server {
            protocol: Some(pb::ProxyProtocol { kind: Some(kind) }),
            ..Default::default()
        }
    }

    #[test]
    fn what_names_a_client_is_the_routes_own_then_the_servers_then_loopback() {
        let of = |name| vec![authz(name, "0.0.0.0/0", &[], unauthenticated())];
        let route = pb::HttpRoute {
            metadata: meta("route"),
            authorizations: of("own"),
            ..Default::default()
        };
        let policy = server(of("server"), vec![route]);
        let Protocol::Detect { http, .. } = &policy.protocol else {
            panic!("{policy:?}")
        };
        let authorizations = http.routes[0].authorizations.iter();
        let names: Vec<_> = authorizations.map(|authz| authz.meta.name()).collect();
        assert_eq!(names, ["own", "server", "localhost"]);
    }

    #[test]
    fn names_may_be_empty() {
        let nameless = Some(Metadata {
            kind: Some(metadata::Kind::Resource(Default::default())),
        });
        let route = pb::HttpRoute {
            metadata: nameless.clone(),
            ..Default::default()
        };
        let mut all = authz("", "0.0.0.0/0", &[], unauthenticated());
        all.metadata = nameless;
        let policy = server(vec![all], vec![route]);
        let allowed = allowed_by(&policy, "10.0.0.1", ClientTls::None);
        assert_eq!(allowed.as_deref(), Some(""));
    }

    #[test]
    fn what_cannot_be_read_of_a_rate_limit_leaves_the_rest_of_it() {
        use pb::http_local_rate_limit::r#override::ClientIdentities;
        use pb::http_local_rate_limit::{Limit, Override};
        let limit = |requests_per_second| {
            Some(Limit {
                requests_per_second,
            })
        };
        let clients = |names: &[&str]| {
            let identities = names.iter().map(|name| pb::Identity {
                name: (*name).to_owned(),
            });
            Some(ClientIdentities {
                identities: identities.collect(),
            })
        };
        let of = |limit, clients| Override { limit, clients };
        let limits = pb::HttpLocalRateLimit {
            metadata: None,
            total: limit(100),
            identity: limit(10),
            overrides: vec![
                of(None, clients(&["a.ns"])),
                of(limit(0), clients(&["b.ns"])),
                of(limit(20), clients(&["no name", "c.ns", ""])),
            ],
        };
        let http = pb::proxy_protocol::Http1 {
            routes: Vec::new(),
            local_rate_limit: Some(limits),
        };
        let policy = ServerPolicy::try_from(speaking(pb::proxy_protocol::Kind::Http1(http)));
        let Ok(Protocol::Http1(http)) = policy.map(|policy| policy.protocol) else {
            panic!("the port is refused")
        };
        let limit = http.rate_limit.expect("limited");
        assert_eq!((limit.total_rps, limit.identity_rps), (Some(100), Some(10)));
        let c = Id::parse("c.ns").expect("valid");
        assert_eq!(limit.overrides, [(vec![c], 20)]);
    }

    #[test]
    fn a_grpc_route_takes_calls_only() {
        use linkerd2_proxy_api::grpc_route::{GrpcRouteMatch, GrpcRpcMatch};
        let of = |rpc| pb::GrpcRoute {
            metadata: meta("calls"),
            rules: vec![pb::grpc_route::Rule {
                matches: vec![GrpcRouteMatch {
                    rpc,
                    headers: Vec::new(),
                }],
                filters: Vec::new(),
            }],
            ..Default::default()
        };
        let service = GrpcRpcMatch {
            service: "a.B".to_owned(),
            method: String::new(),
        };
        for rpc in [None, Some(service)] {
            let grpc = pb::proxy_protocol::Grpc {
                routes: vec![of(rpc)],
            };
            let policy = ServerPolicy::try_from(speaking(pb::proxy_protocol::Kind::Grpc(grpc)));
            let Ok(Protocol::Grpc(http)) = policy.map(|policy| policy.protocol) else {
                panic!("refused")
            };
            let takes = |method: Method, path: &str| {
                let request = Request {
                    host: None,
                    uri: &path.parse::<Uri>().expect("valid"),
                    method: &method,
                    headers: &HeaderMap::new(),
                };
                http.find(&request).is_some()
            };
            assert!(takes(Method::POST, "/a.B/C"));
            assert!(!takes(Method::GET, "/a.B/C") && !takes(Method::POST, "/"));
        }
    }

    #[test]
    fn broken_messages_say_what_is_broken() {
        let error = ServerPolicy::try_from(pb::Server::default()).expect_err("refused");
        assert_eq!(error.to_string(), "missing protocol");
    }
}
