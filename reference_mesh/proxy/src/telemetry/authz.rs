//! Who was let in and who was not.

use std::net::SocketAddr;

use super::cells::Counter;
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry};
use crate::policy::Meta;
use crate::tls::InboundTls;

static HTTP_ALLOW: Definition = Definition {
    name: "inbound_http_authz_allow_total",
    help: "The total number of inbound HTTP requests that were authorized.",
    kind: Kind::Counter,
};
static HTTP_DENY: Definition = Definition {
    name: "inbound_http_authz_deny_total",
    help: "The total number of inbound HTTP requests that could not be processed due to being \
           unauthorized.",
    kind: Kind::Counter,
};
static HTTP_NO_ROUTE: Definition = Definition {
    name: "inbound_http_route_not_found_total",
    help: "The total number of inbound HTTP requests that could not be associated with a route.",
    kind: Kind::Counter,
};
static HTTP_RATE_LIMIT: Definition = Definition {
    name: "inbound_http_local_ratelimit_total",
    help: "The total number of inbound HTTP requests that could not be processed due to being \
           rate-limited.",
    kind: Kind::Counter,
};
static TCP_ALLOW: Definition = Definition {
    name: "inbound_tcp_authz_allow_total",
    help: "The total number of inbound TCP connections that were authorized.",
    kind: Kind::Counter,
};
static TCP_DENY: Definition = Definition {
    name: "inbound_tcp_authz_deny_total",
    help: "The total number of inbound TCP connections that were denied.",
    kind: Kind::Counter,
};
static TCP_TERMINATE: Definition = Definition {
    name: "inbound_tcp_authz_terminate_total",
    help: "The total number of inbound TCP connections that were terminated due to an \
           authorization change.",
    kind: Kind::Counter,
};

/// A client's connection to a port, as authorization metrics name it.
#[derive(Clone, Copy, Debug)]
pub struct InboundTarget<'a> {
    /// Original destination.
    pub target: SocketAddr,
    /// TLS of the client's connection.
    pub tls: &'a InboundTls,
    /// Policy of the port.
    pub server: &'a Meta,
    /// The port that the policy is of.
    pub server_port: u16,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counter of requests on `route` that `authz` let in.
    #[must_use]
    pub fn http_allowed(&self, of: InboundTarget<'_>, route: &Meta, authz: &Meta) -> Counter {
        let labels = of
            .server_labels()
            .short("route", route)
            .short("authz", authz);
        self.counter(&HTTP_ALLOW, labels.inbound_tls(of.tls))
    }

    /// Counter of requests on `route` that nothing let in.
    #[must_use]
    pub fn http_denied(&self, of: InboundTarget<'_>, route: &Meta) -> Counter {
        let labels = of.server_labels().short("route", route);
        self.counter(&HTTP_DENY, labels.inbound_tls(of.tls))
    }

    /// Counter of requests that no route took.
    #[must_use]
    pub fn http_route_not_found(&self, of: InboundTarget<'_>) -> Counter {
        self.counter(&HTTP_NO_ROUTE, of.server_labels().inbound_tls(of.tls))
    }

    /// Counter of requests over the rate limit; `scope` is `total`, `identity` or `override`.
    #[must_use]
    pub fn http_rate_limited(&self, of: InboundTarget<'_>, limit: &Meta, scope: &str) -> Counter {
        let labels = of
            .server_labels()
            .short("ratelimit", limit)
            .with("ratelimit_scope", scope);
        self.counter(&HTTP_RATE_LIMIT, labels.inbound_tls(of.tls))
    }

    /// Counter of opaque connections that `authz` let in.
    #[must_use]
    pub fn tcp_allowed(&self, of: InboundTarget<'_>, authz: &Meta) -> Counter {
        let labels = of.server_labels().short("authz", authz);
        self.counter(&TCP_ALLOW, labels.inbound_tls(of.tls))
    }

    /// Counter of opaque connections that nothing let in.
    #[must_use]
    pub fn tcp_denied(&self, of: InboundTarget<'_>) -> Counter {
        self.counter(&TCP_DENY, of.server_labels().inbound_tls(of.tls))
    }

    /// Counter of opaque connections that were cut when policy changed.
    #[must_use]
    pub fn tcp_terminated(&self, of: InboundTarget<'_>) -> Counter {
        self.counter(&TCP_TERMINATE, of.server_labels().inbound_tls(of.tls))
    }
}

// === impl InboundTarget ===

impl InboundTarget<'_> {
    fn server_labels(&self) -> LabelSet {
        LabelSet::new()
            .target(self.target)
            .server(self.server, self.server_port)
    }
}
