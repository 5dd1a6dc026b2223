//! Look-ups against a control plane in the same process.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use linkerd2_proxy_api::destination::destination_server::{Destination, DestinationServer};
use linkerd2_proxy_api::destination::{
    AddrSet, DestinationProfile, GetDestination, TlsIdentity, Update, WeightedAddr,
    WeightedAddrSet, tls_identity, update,
};
use linkerd2_proxy_api::inbound::inbound_server_policies_server::{
    InboundServerPolicies, InboundServerPoliciesServer,
};
use linkerd2_proxy_api::inbound::{PortSpec, Server as InboundServer};
use linkerd2_proxy_api::net::TcpAddress;
use linkerd2_proxy_api::outbound::outbound_policies_server::{
    OutboundPolicies, OutboundPoliciesServer,
};
use linkerd2_proxy_api::outbound::{OutboundPolicy, TrafficSpec};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Told, apply};
use crate::config::{Config, ControlAddr, ControlStreams};
use crate::control::{Client, Resolver};
use crate::discovery::{
    Addr, At, Discovery, Endpoint, EndpointsState, NameAddr, Profile, Settings,
};
use crate::policy::inbound::Protocol as InboundProtocol;
use crate::policy::outbound::{Dispatcher, Distribution, FailureAccrual, Policy, Protocol, Queue};
use crate::telemetry::Telemetry;
use crate::tls::test_pki::Authority;

const TARGET: &str = "10.1.0.1:80";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What one call is answered: messages, then an end; with no messages, a failure.
type Script<T> = Vec<Result<T, Status>>;

/// Answers each call of a kind with the next script; after the last, with silence.
#[derive(Clone)]
struct Fake {
    policies: Arc<Mutex<Vec<Script<OutboundPolicy>>>>,
    profiles: Arc<Mutex<Vec<Script<DestinationProfile>>>>,
    endpoints: Arc<Mutex<Vec<Script<Update>>>>,
    servers: Arc<Mutex<Vec<Script<InboundServer>>>>,
}

fn answer<T: Send + 'static>(
    scripts: &Mutex<Vec<Script<T>>>,
) -> Result<Response<Answers<T>>, Status> {
    let mut scripts = scripts.lock();
    if scripts.is_empty() {
        return Ok(Response::new(Box::pin(stream::pending())));
    }
    match scripts.remove(0) {
        mut script if script.len() == 1 && script[0].is_err() => {
            Err(script.remove(0).err().expect("checked"))
        }
        script => Ok(Response::new(Box::pin(stream::iter(script)))),
    }
}

#[tonic::async_trait]
impl OutboundPolicies for Fake {
    type WatchStream = Answers<OutboundPolicy>;

    async fn get(&self, _: Request<TrafficSpec>) -> Result<Response<OutboundPolicy>, Status> {
        Err(Status::unimplemented("not used by proxies"))
    }

    async fn watch(
        &self,
        _: Request<TrafficSpec>,
    ) -> Result<Response<Answers<OutboundPolicy>>, Status> {
        answer(&self.policies)
    }
}

#[tonic::async_trait]
impl Destination for Fake {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(&self, _: Request<GetDestination>) -> Result<Response<Answers<Update>>, Status> {
        answer(&self.endpoints)
    }

    async fn get_profile(
        &self,
        _: Request<GetDestination>,
    ) -> Result<Response<Answers<DestinationProfile>>, Status> {
        answer(&self.profiles)
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Fake {
    type WatchPortStream = Answers<InboundServer>;

    async fn get_port(&self, _: Request<PortSpec>) -> Result<Response<InboundServer>, Status> {
        Err(Status::unimplemented("not used by proxies"))
    }

    async fn watch_port(
        &self,
        _: Request<PortSpec>,
    ) -> Result<Response<Answers<InboundServer>>, Status> {
        answer(&self.servers)
    }
}

struct World {
    discovery: Discovery,
    _server: JoinSet<()>,
}

/// A control plane that answers so about outbound traffic, and look-ups in it.
async fn world(
    policies: Vec<Script<OutboundPolicy>>,
    profiles: Vec<Script<DestinationProfile>>,
    endpoints: Vec<Script<Update>>,
) -> World {
    world_of(Fake {
        policies: Arc::new(Mutex::new(policies)),
        profiles: Arc::new(Mutex::new(profiles)),
        endpoints: Arc::new(Mutex::new(endpoints)),
        servers: Arc::default(),
    })
    .await
}

async fn world_of(fake: Fake) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let served = Server::builder()
            .add_service(OutboundPoliciesServer::new(fake.clone()))
            .add_service(InboundServerPoliciesServer::new(fake.clone()))
            .add_service(DestinationServer::new(fake))
            .serve_with_incoming(TcpIncoming::from(listener));
        served.await.expect("served");
    });
    let telemetry = Telemetry::new(Duration::from_secs(1));
    let resolver = Arc::new(Resolver::new(telemetry.clone(), (None, None)));
    let credentials = Authority::new().credentials("a.b");
    let addr = ControlAddr {
        host: "127.0.0.1".to_owned(),
        port,
        name: None,
    };
    let client = |component| {
        Client::new(
            component,
            &addr,
            credentials.clone(),
            resolver.clone(),
            &telemetry,
        )
        .expect("loopback")
    };
    let discovery = Discovery::new(
        Handle::current(),
        client("destination"),
        client("policy"),
        settings(),
    );
    World {
        discovery,
        _server: server,
    }
}

fn settings() -> Settings {
    Settings {
        context_token: String::new(),
        workload: "workload".to_owned(),
        networks: vec!["10.0.0.0/8".parse().expect("valid")],
        outbound_idle: Duration::from_millis(10),
        inbound_idle: Duration::from_secs(90),
        streams: ControlStreams::default(),
        detect_timeout: Duration::from_secs(10),
        queue: Queue {
            capacity: 1,
            failfast_timeout: Duration::from_secs(1),
        },
        inbound: inbound(),
    }
}

fn inbound() -> crate::config::Inbound {
    let required = [
        ("LINKERD2_PROXY_IDENTITY_DIR", "/nowhere"),
        ("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "x"),
        ("LINKERD2_PROXY_IDENTITY_TOKEN_FILE", "/nowhere"),
        ("LINKERD2_PROXY_IDENTITY_LOCAL_NAME", "a.b"),
        ("LINKERD2_PROXY_IDENTITY_SVC_ADDR", "127.0.0.1:1"),
        ("LINKERD2_PROXY_DESTINATION_SVC_ADDR", "127.0.0.1:1"),
        ("LINKERD2_PROXY_POLICY_SVC_ADDR", "127.0.0.1:1"),
        ("LINKERD2_PROXY_POLICY_WORKLOAD", "x"),
    ];
    let required: std::collections::BTreeMap<String, String> = required
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_env(&required).expect("complete").inbound
}

fn target() -> SocketAddr {
    TARGET.parse().expect("valid")
}

fn weighted(addr: &str, id: Option<&str>) -> WeightedAddr {
    let addr: SocketAddr = addr.parse().expect("valid");
    let strategy = |name: &str| {
        let name = name.to_owned();
        tls_identity::Strategy::DnsLikeIdentity(tls_identity::DnsLikeIdentity { name })
    };
    WeightedAddr {
        addr: Some(addr.into()),
        tls_identity: id.map(|name| TlsIdentity {
            strategy: Some(strategy(name)),
            server_name: None,
        }),
        ..Default::default()
    }
}

fn add(addrs: &[&str]) -> Update {
    let addrs = addrs.iter().map(|addr| weighted(addr, None)).collect();
    let set = WeightedAddrSet {
        addrs,
        metric_labels: Default::default(),
    };
    Update {
        update: Some(update::Update::Add(set)),
    }
}

fn remove(addrs: &[&str]) -> Update {
    let addrs = addrs
        .iter()
        .map(|addr| TcpAddress::from(addr.parse::<SocketAddr>().expect("valid")));
    Update {
        update: Some(update::Update::Remove(AddrSet {
            addrs: addrs.collect(),
        })),
    }
}

fn addresses(state: &EndpointsState) -> Vec<String> {
    match state {
        EndpointsState::Known(known) => known.keys().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// The value once it is as wanted; a test that waits longer than this has failed.
async fn until<T: Clone>(receiver: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) -> T {
    let value = tokio::time::timeout(Duration::from_secs(5), receiver.wait_for(wanted)).await;
    value.expect("in time").expect("watched").clone()
}

fn dispatcher(policy: &Policy) -> Option<Dispatcher> {
    let Protocol::Detect { http1, .. } = &policy.protocol else {
        return None;
    };
    let Distribution::FirstAvailable(backends) = &http1.routes[0].rules[0].policy.backends else {
        return None;
    };
    Some(backends[0].backend.dispatcher.clone())
}

fn forwards_to(policy: &Policy) -> Option<Endpoint> {
    match dispatcher(policy) {
        Some(Dispatcher::Forward(endpoint)) => Some(endpoint),
        _ => None,
    }
}

fn unknown<T>() -> Script<T> {
    vec![Err(Status::not_found("no such target"))]
}

fn named(id: &str) -> DestinationProfile {
    DestinationProfile {
        endpoint: Some(weighted(TARGET, Some(id))),
        ..Default::default()
    }
}

/// Whom the target is, when its connections may be forwarded to it.
fn identity(policy: &Policy) -> Option<String> {
    let tls = forwards_to(policy)?.meta.tls.clone()?;
    Some(tls.id.as_str().to_owned())
}

#[tokio::test]
async fn a_target_without_policy_is_what_its_profile_says() {
    let profiles = vec![vec![Ok(named("api.ns")), Ok(named("web.ns"))]];
    let world = world(vec![unknown()], profiles, Vec::new()).await;
    let mut policy = world
        .discovery
        .outbound_policy(Addr::Socket(target()))
        .await;
    // Also when the address is another workload's.
    let changed = |policy: &Arc<Policy>| identity(policy).as_deref() == Some("web.ns");
    until(&mut policy, changed).await;
}

/// Plain text would go to a workload that may be meshed.
#[tokio::test]
async fn a_target_of_which_no_profile_came_gets_nothing() {
    let silent = vec![Err(Status::unavailable("restarting"))];
    let world = world(vec![unknown()], vec![silent], Vec::new()).await;
    let lookup = world.discovery.outbound_policy(Addr::Socket(target()));
    let waited = tokio::time::timeout(Duration::from_millis(500), lookup).await;
    assert!(waited.is_err(), "{waited:?}");
}

/// As above; its endpoints are asked for instead.
#[tokio::test]
async fn a_service_without_policy_is_balanced() {
    let profile = DestinationProfile {
        fully_qualified_name: "web.ns.svc.cluster.local".to_owned(),
        ..Default::default()
    };
    let world = world(vec![unknown()], vec![vec![Ok(profile)]], Vec::new()).await;
    let policy = world
        .discovery
        .outbound_policy(Addr::Socket(target()))
        .await;
    let dispatcher = dispatcher(&policy.borrow());
    let Some(Dispatcher::Balance(balance)) = dispatcher else {
        panic!("{dispatcher:?}");
    };
    assert_eq!(&*balance.path, "web.ns.svc.cluster.local:80");
}

fn name() -> Addr {
    Addr::Name(NameAddr::parse("web.ns.svc.cluster.local:8080").expect("valid"))
}

#[tokio::test]
async fn a_name_without_policy_is_balanced() {
    let profile = DestinationProfile {
        fully_qualified_name: "web.ns.svc.cluster.local".to_owned(),
        ..Default::default()
    };
    let world = world(vec![unknown()], vec![vec![Ok(profile)]], Vec::new()).await;
    let policy = world.discovery.outbound_policy(name()).await;
    let dispatcher = dispatcher(&policy.borrow());
    let Some(Dispatcher::Balance(balance)) = dispatcher else {
        panic!("{dispatcher:?}");
    };
    assert_eq!(&*balance.path, "web.ns.svc.cluster.local:8080");
}

#[tokio::test]
async fn a_name_that_nobody_has_leads_nowhere() {
    for profile in [
        Ok(DestinationProfile::default()),
        Err(Status::invalid_argument("not the name of a service")),
    ] {
        let world = world(vec![unknown()], vec![vec![profile]], Vec::new()).await;
        let policy = world.discovery.outbound_policy(name()).await;
        let dispatcher = dispatcher(&policy.borrow());
        let Some(Dispatcher::Fail(reason)) = dispatcher else {
            panic!("{dispatcher:?}");
        };
        assert!(reason.contains("web.ns.svc.cluster.local:8080"), "{reason}");
    }
}

/// As for addresses: it may be a meshed pod's.
#[tokio::test]
async fn a_name_of_which_no_profile_came_gets_nothing() {
    let silent = vec![Err(Status::unavailable("restarting"))];
    let world = world(vec![unknown()], vec![silent], Vec::new()).await;
    let lookup = world.discovery.outbound_policy(name());
    let waited = tokio::time::timeout(Duration::from_millis(500), lookup).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn an_address_that_nobody_has_is_forwarded_to() {
    for profile in [
        Ok(DestinationProfile::default()),
        Err(Status::invalid_argument("no pod has that address")),
    ] {
        let world = world(vec![unknown()], vec![vec![profile]], Vec::new()).await;
        let policy = world
            .discovery
            .outbound_policy(Addr::Socket(target()))
            .await;
        let endpoint = forwards_to(&policy.borrow());
        let endpoint = endpoint.unwrap_or_else(|| panic!("{policy:?}"));
        assert!(endpoint.addr == target() && endpoint.meta.tls.is_none());
    }
}

/// Plain text would go to a workload that was announced as meshed.
#[tokio::test]
async fn a_target_whose_profile_names_an_unusable_identity_gets_nothing() {
    let profiles = vec![vec![Ok(named("no name"))]];
    let world = world(vec![unknown()], profiles, Vec::new()).await;
    let policy = world
        .discovery
        .outbound_policy(Addr::Socket(target()))
        .await;
    let protocol = policy.borrow().protocol.clone();
    assert!(matches!(protocol, Protocol::Invalid(_)), "{protocol:?}");
}

/// Linkerd limits profiles to the networks, not policies: an `EgressNetwork` may deny the rest.
#[tokio::test]
async fn a_target_outside_the_networks_has_a_policy_and_no_profile() {
    let addr = "192.0.2.1:443".parse().expect("valid");
    let broken = vec![Ok(OutboundPolicy::default())];
    let denied = world(vec![broken], Vec::new(), Vec::new()).await;
    let policy = denied
        .discovery
        .outbound_policy(Addr::Socket(addr))
        .await
        .borrow()
        .clone();
    assert!(
        matches!(policy.protocol, Protocol::Invalid(_)),
        "{policy:?}"
    );

    let profiles = vec![vec![Ok(named("api.ns"))]];
    let allowed = world(vec![unknown()], profiles, Vec::new()).await;
    let policy = allowed
        .discovery
        .outbound_policy(Addr::Socket(addr))
        .await
        .borrow()
        .clone();
    let endpoint = forwards_to(&policy).expect("forwarded");
    assert!(endpoint.addr == addr && endpoint.meta.tls.is_none());
}

/// A controller that restarts may answer before it knows its cluster.
#[tokio::test]
async fn a_policy_that_was_learned_outlives_what_is_said_of_it_later() {
    for answer in [
        Status::not_found("no such target"),
        Status::invalid_argument("no"),
        Status::unimplemented("not here"),
    ] {
        let learned = vec![Ok(OutboundPolicy::default()), Err(answer)];
        let profiles = vec![vec![Ok(DestinationProfile::default())]];
        let world = world(vec![learned], profiles, Vec::new()).await;
        let mut policy = world
            .discovery
            .outbound_policy(Addr::Socket(target()))
            .await;
        policy.mark_unchanged();
        let changed = tokio::time::timeout(Duration::from_millis(300), policy.changed()).await;
        assert!(changed.is_err(), "{policy:?}");
    }
}

#[tokio::test]
async fn a_broken_policy_says_what_is_broken_and_is_replaced() {
    let failure = Status::invalid_argument("go away");
    let policies = vec![vec![Err(failure)], vec![Ok(OutboundPolicy::default())]];
    let profiles = vec![vec![Ok(DestinationProfile::default())]];
    let world = world(policies, profiles, Vec::new()).await;
    let mut policy = world
        .discovery
        .outbound_policy(Addr::Socket(target()))
        .await;
    let says = |policy: &Arc<Policy>, wanted: &str| matches!(&policy.protocol, Protocol::Invalid(message) if &**message == wanted);
    assert!(says(&policy.borrow(), "go away"));
    until(&mut policy, |policy| says(policy, "missing metadata")).await;
}

#[tokio::test]
async fn endpoints_outlive_their_stream_and_the_next_one_replaces_them() {
    let (a, b, c) = ("10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80");
    let first = vec![
        Ok(add(&[a])),
        Ok(add(&[b])),
        Err(Status::unavailable("restarting")),
    ];
    let second = vec![Ok(add(&[b, c])), Ok(remove(&[b]))];
    let world = world(Vec::new(), Vec::new(), vec![first, second]).await;
    let mut endpoints = world.discovery.endpoints("web.ns:80");
    until(&mut endpoints, |state| addresses(state) == [c]).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_has_no_endpoints_until_it_can() {
    let refused = || vec![Err(Status::invalid_argument("not a service"))];
    let answers = vec![refused(), vec![Ok(add(&[TARGET]))]];
    let world = world(Vec::new(), Vec::new(), answers).await;
    let mut endpoints = world.discovery.endpoints("web.ns:80");
    let none = EndpointsState::Empty { exists: false };
    until(&mut endpoints, |state| *state == none).await;
    until(&mut endpoints, |state| addresses(state) == [TARGET]).await;
}

#[tokio::test]
async fn endpoints_outlive_an_answer_that_there_is_no_such_name() {
    let refused = Status::failed_precondition("not a service");
    let answers = vec![vec![Ok(add(&[TARGET])), Err(refused)]];
    let world = world(Vec::new(), Vec::new(), answers).await;
    let mut endpoints = world.discovery.endpoints("web.ns:80");
    until(&mut endpoints, |state| addresses(state) == [TARGET]).await;
    let changed = tokio::time::timeout(Duration::from_millis(300), endpoints.changed()).await;
    assert!(changed.is_err(), "{endpoints:?}");
}

#[tokio::test]
async fn without_a_profile_there_is_an_empty_one() {
    let world = world(Vec::new(), vec![unknown()], Vec::new()).await;
    let profile = world.discovery.profile("web.ns:80").await.borrow().clone();
    assert!(profile.fqn.is_none() && profile.at == At::Untold);
}

/// Look-ups of which nothing is known, and of which nothing comes to be known.
#[tokio::test]
async fn what_the_control_plane_does_not_know_is_forgotten_when_nobody_looks() {
    // More of them than a test lives to see: it asks again and again.
    let policies = (0..100).map(|_| unknown()).collect();
    let profiles = (0..100).map(|_| unknown()).collect();
    let world = world(policies, profiles, Vec::new()).await;
    let addr = "192.0.2.1:443".parse().expect("valid");
    drop(world.discovery.outbound_policy(Addr::Socket(addr)).await);
    drop(world.discovery.profile("web.ns:80").await);
    for _ in 0..2 {
        let ended = poll_fn(|cx| world.discovery.0.tasks.lock().poll_join_next(cx));
        let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
        ended
            .expect("forgotten")
            .expect("a task")
            .expect("no panic");
    }
}

#[tokio::test]
async fn a_port_is_judged_by_default_where_there_is_no_controller_of_inbound_policy() {
    let fake = Fake {
        policies: Arc::default(),
        profiles: Arc::default(),
        endpoints: Arc::default(),
        servers: Arc::new(Mutex::new(vec![vec![Err(Status::unimplemented(
            "not here",
        ))]])),
    };
    let world = world_of(fake).await;
    let policy = world.discovery.inbound_by_client(8080).await;
    let policy = policy.expect("settled").borrow().clone();
    assert!(!matches!(policy.protocol, InboundProtocol::Invalid(_)));
}

#[tokio::test]
async fn a_ports_policy_is_followed_even_after_an_answer_that_looks_final() {
    let refused = |status| vec![Err(status)];
    let servers = vec![
        refused(Status::invalid_argument("no such workload")),
        refused(Status::failed_precondition("not yet")),
        vec![Ok(InboundServer::default())],
    ];
    let fake = Fake {
        policies: Arc::default(),
        profiles: Arc::default(),
        endpoints: Arc::default(),
        servers: Arc::new(Mutex::new(servers)),
    };
    let world = world_of(fake).await;
    let mut policy = world.discovery.inbound(8080);
    // An empty message is no policy, and nobody gets in by it; the default one lets in.
    until(&mut policy, |policy| {
        matches!(policy.protocol, InboundProtocol::Invalid(_))
    })
    .await;
}

#[test]
fn the_first_update_of_a_stream_replaces_the_set() {
    let (mut known, mut is_stale) = (Default::default(), true);
    let (a, b) = ("10.1.0.1:80", "10.1.0.2:80");
    let mut apply = |update, is_first: bool| {
        is_stale |= is_first;
        apply("web", &mut known, &mut is_stale, update)
    };
    apply(add(&[a]), true);
    assert_eq!(
        addresses(&apply(add(&[b]), false).expect("changed")),
        [a, b]
    );
    // Of what is gone since nothing follows for the rest.
    assert!(apply(remove(&[a]), true).is_none());
    assert_eq!(addresses(&apply(add(&[b]), false).expect("changed")), [b]);
    let state = apply(remove(&[b]), false).expect("changed");
    assert_eq!(state, EndpointsState::Empty { exists: true });
    assert!(apply(Update { update: None }, false).is_none());
}

#[test]
fn an_endpoint_whose_identity_becomes_unusable_is_dropped() {
    let (mut known, mut is_stale) = (Default::default(), true);
    let (a, b) = ("10.1.0.1:80", "10.1.0.2:80");
    apply("web", &mut known, &mut is_stale, add(&[a, b]));
    let set = WeightedAddrSet {
        addrs: vec![weighted(a, Some("no name"))],
        metric_labels: Default::default(),
    };
    let update = Update {
        update: Some(update::Update::Add(set)),
    };
    let state = apply("web", &mut known, &mut is_stale, update).expect("changed");
    assert_eq!(addresses(&state), [b]);
}

#[test]
fn what_a_profile_asks_for_in_vain_is_told_once() {
    let told = Told::default();
    let mut profile = Profile::default();
    assert_eq!(told.news_of_profile("web", &profile), None);
    let target = crate::discovery::WeightedTarget {
        authority: "other.ns:80".into(),
        weight: 1,
        backend: None,
    };
    profile.targets = Arc::new([target]);
    let news = told.news_of_profile("web", &profile);
    assert_eq!(news.as_deref(), Some("destination overrides"));
    assert_eq!(told.news_of_profile("web", &profile), None, "told already");
}

#[test]
fn what_a_policy_asks_for_in_vain_is_told_once() {
    let endpoint = Endpoint::plain(target());
    let queue = settings().queue;
    let forward = Dispatcher::Forward(endpoint);
    let mut policy = Policy::single(forward, false, Duration::from_secs(10), queue);
    let told = Told::default();
    assert_eq!(told.news_of(&policy), None, "all of it is enforced");
    let Protocol::Detect { http1, .. } = &mut policy.protocol else {
        panic!("{policy:?}");
    };
    http1.accrual = FailureAccrual::Consecutive {
        max_failures: 7,
        backoff: crate::policy::outbound::Backoff {
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
            jitter_ratio: 0.5,
        },
    };
    assert_eq!(told.news_of(&policy).as_deref(), Some("failure accrual"));
    assert_eq!(told.news_of(&policy), None, "told already");
    policy.parent = crate::policy::Meta::default_named("another");
    assert!(told.news_of(&policy).is_some());
}
