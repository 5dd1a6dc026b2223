//! Policy for traffic that enters the pod: how a port is read and who may use it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Meta;
use super::matching::{HostMatch, RequestMatch};
use super::outbound::Filter;
use crate::identity::Id;

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
