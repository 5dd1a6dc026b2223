//! A control plane that says what a test tells it to, on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use linkerd2_proxy_api::destination::destination_server::{Destination, DestinationServer};
use linkerd2_proxy_api::destination::{
    AddrSet, DestinationProfile, GetDestination, ProtocolHint, TlsIdentity, Update, WeightedAddr,
    WeightedAddrSet, protocol_hint, tls_identity, update,
};
use linkerd2_proxy_api::identity::identity_server::{Identity, IdentityServer};
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use linkerd2_proxy_api::inbound::inbound_server_policies_server::{
    InboundServerPolicies, InboundServerPoliciesServer,
};
use linkerd2_proxy_api::inbound::{self, PortSpec, Server};
use linkerd2_proxy_api::meta::{Metadata, metadata};
use linkerd2_proxy_api::net::{IpNetwork, TcpAddress};
use linkerd2_proxy_api::outbound::backend::{BalanceP2c, balance_p2c};
use linkerd2_proxy_api::outbound::outbound_policies_server::{
    OutboundPolicies, OutboundPoliciesServer,
};
use linkerd2_proxy_api::outbound::{
    self, Backend, HttpRoute, OpaqueRoute, OutboundPolicy, Queue, TlsRoute, TrafficSpec, backend,
    http_route, opaque_route, proxy_protocol, tls_route, traffic_spec,
};
use linkerd2_proxy_api::tls_route::{SniMatch, sni_match};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use rustls_pki_types::CertificateSigningRequestDer;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// The service that the virtual address belongs to.
const DIALLED: &str = "web:80";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the control plane says.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) outbound: OutboundPolicy,
    pub(crate) endpoints: Update,
    /// Services that are known by name (`host:port`), and their endpoints.
    pub(crate) services: HashMap<String, Update>,
    pub(crate) server: Server,
    /// How long a proxy waits for what holds for a port.
    pub(crate) server_delay: Duration,
    pub(crate) certificate_life: Duration,
}

/// The control plane; clones share what it says.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) state: watch::Sender<State>,
    issuer: Arc<Issuer<'static, KeyPair>>,
    pub(crate) anchors: String,
}

impl Control {
    pub(crate) fn new(state: State) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let anchors = params.self_signed(&key).expect("root").pem();
        let issuer = Arc::new(Issuer::new(params, key));
        Self {
            state: watch::Sender::new(state),
            issuer,
            anchors,
        }
    }

    pub(crate) async fn serve(self, listener: tokio::net::TcpListener) {
        tonic::transport::Server::builder()
            .add_service(IdentityServer::new(self.clone()))
            .add_service(DestinationServer::new(self.clone()))
            .add_service(InboundServerPoliciesServer::new(self.clone()))
            .add_service(OutboundPoliciesServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .expect("control plane");
    }

    fn answers<T: PartialEq + Clone + Send + 'static>(
        &self,
        part: impl Fn(&State) -> T + Send + 'static,
    ) -> Answers<T> {
        let mut last = None;
        let changes = WatchStream::new(self.state.subscribe()).filter_map(move |state| {
            let new = part(&state);
            (last.as_ref() != Some(&new)).then(|| {
                last = Some(new.clone());
                Ok(new)
            })
        });
        Box::pin(changes)
    }
}

#[tonic::async_trait]
impl Identity for Control {
    async fn certify(
        &self,
        request: Request<CertifyRequest>,
    ) -> Result<Response<CertifyResponse>, Status> {
        let csr =
            CertificateSigningRequestDer::from(request.into_inner().certificate_signing_request);
        let mut csr = CertificateSigningRequestParams::from_der(&csr).expect("CSR");
        let until = SystemTime::now() + self.state.borrow().certificate_life;
        csr.params.not_after = until.into();
        let leaf = csr.signed_by(&self.issuer).expect("leaf");
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf.der().to_vec(),
            intermediate_certificates: Vec::new(),
            valid_until: Some(until.into()),
        }))
    }
}

#[tonic::async_trait]
impl Destination for Control {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let path = request.into_inner().path;
        if path == DIALLED {
            return Ok(Response::new(self.answers(|state| state.endpoints.clone())));
        }
        if !self.state.borrow().services.contains_key(&path) {
            return Err(Status::invalid_argument("no such service"));
        }
        let answers = self.answers(move |state| state.services[&path].clone());
        Ok(Response::new(answers))
    }

    async fn get_profile(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Self::GetProfileStream>, Status> {
        let path = request.into_inner().path;
        let (host, _) = path.rsplit_once(':').expect("host:port");
        let is_address = path.parse::<SocketAddr>().is_ok();
        // As Linkerd's: a name has a profile, whether there is such a service or not.
        let profile = DestinationProfile {
            fully_qualified_name: if is_address { "" } else { host }.to_owned(),
            ..Default::default()
        };
        Ok(Response::new(self.answers(move |_| profile.clone())))
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Control {
    type WatchPortStream = Answers<Server>;

    async fn get_port(&self, _: Request<PortSpec>) -> Result<Response<Server>, Status> {
        Ok(Response::new(self.state.borrow().server.clone()))
    }

    async fn watch_port(
        &self,
        _: Request<PortSpec>,
    ) -> Result<Response<Self::WatchPortStream>, Status> {
        let delay = self.state.borrow().server_delay;
        tokio::time::sleep(delay).await;
        Ok(Response::new(self.answers(|state| state.server.clone())))
    }
}

#[tonic::async_trait]
impl OutboundPolicies for Control {
    type WatchStream = Answers<OutboundPolicy>;

    async fn get(&self, _: Request<TrafficSpec>) -> Result<Response<OutboundPolicy>, Status> {
        Ok(Response::new(self.state.borrow().outbound.clone()))
    }

    async fn watch(
        &self,
        request: Request<TrafficSpec>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if let Some(traffic_spec::Target::Authority(name)) = request.into_inner().target {
            if !self.state.borrow().services.contains_key(&name) {
                return Err(Status::not_found("no such service"));
            }
            let policy = to(&balancer(&name), false);
            return Ok(Response::new(self.answers(move |_| policy.clone())));
        }
        Ok(Response::new(self.answers(|state| state.outbound.clone())))
    }
}

fn duration(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub(crate) fn meta(name: &str) -> Option<Metadata> {
    Some(Metadata {
        kind: Some(metadata::Kind::Default(name.to_owned())),
    })
}

fn queue() -> Option<Queue> {
    Some(Queue {
        capacity: 100,
        failfast_timeout: duration(3),
    })
}

fn balancer(path: &str) -> Option<Backend> {
    let dst = outbound::backend::endpoint_discovery::DestinationGet {
        path: path.to_owned(),
    };
    let kind = outbound::backend::endpoint_discovery::Kind::Dst(dst);
    let load = balance_p2c::PeakEwma {
        default_rtt: Some(prost_types::Duration {
            seconds: 0,
            nanos: 30_000_000,
        }),
        decay: duration(10),
    };
    Some(Backend {
        metadata: meta("web"),
        queue: queue(),
        kind: Some(backend::Kind::Balancer(BalanceP2c {
            discovery: Some(backend::EndpointDiscovery { kind: Some(kind) }),
            load: Some(balance_p2c::Load::PeakEwma(load)),
        })),
    })
}

/// One endpoint, as for a pod's own address.
fn forward(addr: SocketAddr, identity: &str) -> Option<Backend> {
    Some(Backend {
        metadata: meta("pod"),
        queue: queue(),
        kind: Some(backend::Kind::Forward(endpoint(addr, Some(identity)))),
    })
}

/// Detection, then one balancer for everything; `opaque` skips the detection.
pub(crate) fn to_balancer(opaque: bool) -> OutboundPolicy {
    to(&balancer(DIALLED), opaque)
}

/// Detection, then one meshed endpoint for everything.
pub(crate) fn to_endpoint(addr: SocketAddr, identity: &str) -> OutboundPolicy {
    to(&forward(addr, identity), false)
}

fn to(backend: &Option<Backend>, opaque: bool) -> OutboundPolicy {
    let backends = http_route::distribution::FirstAvailable {
        backends: vec![http_route::RouteBackend {
            backend: backend.clone(),
            ..Default::default()
        }],
    };
    let kind = http_route::distribution::Kind::FirstAvailable(backends);
    let route = HttpRoute {
        metadata: meta("route"),
        hosts: Vec::new(),
        rules: vec![http_route::Rule {
            backends: Some(http_route::Distribution { kind: Some(kind) }),
            ..Default::default()
        }],
    };
    let backends = opaque_route::distribution::FirstAvailable {
        backends: vec![opaque_route::RouteBackend {
            backend: backend.clone(),
            filters: Vec::new(),
        }],
    };
    let kind = opaque_route::distribution::Kind::FirstAvailable(backends);
    let opaque_routes = proxy_protocol::Opaque {
        routes: vec![OpaqueRoute {
            metadata: meta("opaque"),
            rules: vec![opaque_route::Rule {
                backends: Some(opaque_route::Distribution { kind: Some(kind) }),
                filters: Vec::new(),
            }],
        }],
    };
    let routes = vec![route];
    let kind = if opaque {
        proxy_protocol::Kind::Opaque(opaque_routes)
    } else {
        proxy_protocol::Kind::Detect(proxy_protocol::Detect {
            timeout: duration(10),
            opaque: Some(opaque_routes),
            http1: Some(proxy_protocol::Http1 {
                routes: routes.clone(),
                failure_accrual: None,
            }),
            http2: Some(proxy_protocol::Http2 {
                routes,
                failure_accrual: None,
            }),
        })
    };
    OutboundPolicy {
        protocol: Some(outbound::ProxyProtocol { kind: Some(kind) }),
        metadata: meta("parent"),
    }
}

/// One balancer for TLS that asks for `name`.
pub(crate) fn to_tls_route(name: &str) -> OutboundPolicy {
    let backends = tls_route::distribution::FirstAvailable {
        backends: vec![tls_route::RouteBackend {
            backend: balancer(DIALLED),
            filters: Vec::new(),
        }],
    };
    let kind = tls_route::distribution::Kind::FirstAvailable(backends);
    let routes = vec![TlsRoute {
        metadata: meta("tls"),
        snis: vec![SniMatch {
            r#match: Some(sni_match::Match::Exact(name.to_owned())),
        }],
        rules: vec![tls_route::Rule {
            backends: Some(tls_route::Distribution { kind: Some(kind) }),
            filters: Vec::new(),
        }],
    }];
    let kind = proxy_protocol::Kind::Tls(proxy_protocol::Tls { routes });
    OutboundPolicy {
        protocol: Some(outbound::ProxyProtocol { kind: Some(kind) }),
        metadata: meta("parent"),
    }
}

/// With an identity, it is meshed.
fn endpoint(addr: SocketAddr, identity: Option<&str>) -> WeightedAddr {
    WeightedAddr {
        addr: Some(TcpAddress::from(addr)),
        weight: 1,
        tls_identity: identity.map(|name| TlsIdentity {
            server_name: None,
            strategy: Some(tls_identity::Strategy::DnsLikeIdentity(
                tls_identity::DnsLikeIdentity {
                    name: name.to_owned(),
                },
            )),
        }),
        protocol_hint: identity.map(|_| ProtocolHint {
            opaque_transport: Some(protocol_hint::OpaqueTransport { inbound_port: 4143 }),
            protocol: Some(protocol_hint::Protocol::H2(protocol_hint::H2 {})),
        }),
        ..Default::default()
    }
}

/// These endpoints; with an identity, they are meshed.
pub(crate) fn endpoints(addrs: &[SocketAddr], identity: Option<&str>) -> Update {
    half_meshed(addrs.iter().map(|addr| (*addr, identity)))
}

/// These endpoints; those with an identity are meshed.
pub(crate) fn half_meshed<'a>(
    addrs: impl IntoIterator<Item = (SocketAddr, Option<&'a str>)>,
) -> Update {
    let addrs = addrs.into_iter();
    let add = WeightedAddrSet {
        addrs: addrs
            .map(|(addr, identity)| endpoint(addr, identity))
            .collect(),
        metric_labels: HashMap::new(),
    };
    Update {
        update: Some(update::Update::Add(add)),
    }
}

/// Takes these endpoints away.
pub(crate) fn removed(addrs: &[SocketAddr]) -> Update {
    let addrs = addrs.iter().map(|addr| TcpAddress::from(*addr)).collect();
    Update {
        update: Some(update::Update::Remove(AddrSet { addrs })),
    }
}

/// A port that lets clients of any network in; with `identity` only those with that one.
pub(crate) fn server(identity: Option<&str>, opaque: bool) -> Server {
    use inbound::authn::{Permit, PermitMeshTls, PermitUnauthenticated, permit_mesh_tls};
    let permit = match identity {
        None => Permit::Unauthenticated(PermitUnauthenticated {}),
        Some(name) => Permit::MeshTls(PermitMeshTls {
            clients: Some(permit_mesh_tls::Clients::Identities(
                permit_mesh_tls::PermitClientIdentities {
                    identities: vec![inbound::Identity {
                        name: name.to_owned(),
                    }],
                    suffixes: Vec::new(),
                },
            )),
        }),
    };
    let any = "0.0.0.0/0".parse::<ipnet::IpNet>().expect("network");
    let authz = inbound::Authz {
        networks: vec![inbound::Network {
            net: Some(IpNetwork::from(any)),
            except: Vec::new(),
        }],
        authentication: Some(inbound::Authn {
            permit: Some(permit),
        }),
        metadata: meta("authz"),
        ..Default::default()
    };
    let kind = if opaque {
        inbound::proxy_protocol::Kind::Opaque(inbound::proxy_protocol::Opaque {})
    } else {
        inbound::proxy_protocol::Kind::Detect(inbound::proxy_protocol::Detect {
            timeout: duration(10),
            ..Default::default()
        })
    };
    Server {
        protocol: Some(inbound::ProxyProtocol { kind: Some(kind) }),
        authorizations: vec![authz],
        labels: [("group", ""), ("kind", "default"), ("name", "test")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    }
}
