//! Requests and responses, by Linkerd's older names that `viz` reads.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::by_key::ByKey;
use super::cells::{Counter, Histogram};
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry, Unit};
use super::tcp::EndpointLabels;
use crate::mutants::{self, Mutant};
use crate::policy::Meta;
use crate::tls::InboundTls;

/// Upper bounds of the older latency histograms, in nanoseconds.
pub(super) static LATENCY_BOUNDS: &[u64] = &{
    const MS: u64 = 1_000_000;
    [
        MS,
        2 * MS,
        3 * MS,
        4 * MS,
        5 * MS,
        10 * MS,
        20 * MS,
        30 * MS,
        40 * MS,
        50 * MS,
        100 * MS,
        200 * MS,
        300 * MS,
        400 * MS,
        500 * MS,
        1_000 * MS,
        2_000 * MS,
        3_000 * MS,
        4_000 * MS,
        5_000 * MS,
        10_000 * MS,
        20_000 * MS,
        30_000 * MS,
        40_000 * MS,
        50_000 * MS,
    ]
};

static REQUEST_TOTAL: Definition = Definition {
    name: "request_total",
    help: "Total count of HTTP requests.",
    kind: Kind::Counter,
};
static RESPONSE_TOTAL: Definition = Definition {
    name: "response_total",
    help: "Total count of HTTP responses.",
    kind: Kind::Counter,
};
static RESPONSE_LATENCY: Definition = Definition {
    name: "response_latency_ms",
    help: "Elapsed times between a request's headers being received and its response stream \
           completing",
    kind: Kind::Histogram(Unit::LegacyMs, LATENCY_BOUNDS),
};
static ERRORS_INBOUND: Definition = Definition {
    name: "inbound_http_errors_total",
    help: "The total number of inbound HTTP requests that could not be processed.",
    kind: Kind::Counter,
};
static ERRORS_OUTBOUND: Definition = Definition {
    name: "outbound_http_errors_total",
    help: "The total number of outbound HTTP requests that could not be processed.",
    kind: Kind::Counter,
};

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To this workload.
    Inbound,
    /// From this workload.
    Outbound,
}

/// How a response is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Good.
    Success,
    /// Bad.
    Failure,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// HTTP status, if a response came.
    pub status: Option<u16>,
    /// The judgement.
    pub class: Class,
    /// gRPC status, if it is gRPC and came to its trailers.
    pub grpc_status: Option<u16>,
    /// Why there was no (whole) response.
    pub error: Option<&'static str>,
}

/// An inbound route, as request metrics name it.
#[derive(Clone, Copy, Debug)]
pub struct InboundRequestLabels<'a> {
    /// Original destination.
    pub target: SocketAddr,
    /// TLS of the client's connection.
    pub tls: &'a InboundTls,
    /// Policy of the port.
    pub server: &'a Meta,
    /// The port that the policy is of.
    pub server_port: u16,
    /// The route.
    pub route: &'a Meta,
    /// What let the request in.
    pub authz: &'a Meta,
    /// What the request was for; empty unless labels by authority are asked for.
    pub authority: &'a str,
}

/// Counters of the requests with one label set. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    telemetry: Telemetry,
    labels: LabelSet,
    requests: Counter,
    responses: ByKey<Outcome, Counter>,
    latencies: ByKey<Option<u16>, Histogram>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counters of an inbound route's requests.
    #[must_use]
    pub fn inbound_requests(&self, of: InboundRequestLabels<'_>) -> Requests {
        let mut labels = LabelSet::new().with("direction", Direction::Inbound);
        if !of.authority.is_empty() {
            labels = labels.with("authority", of.authority);
        }
        let labels = labels
            .target(of.target)
            .inbound_tls(of.tls)
            .server(of.server, of.server_port)
            .short("route", of.route)
            .short("authz", of.authz);
        Requests::new(self, labels)
    }

    /// Counters of the requests to an endpoint.
    #[must_use]
    pub fn outbound_requests(&self, endpoint: EndpointLabels<'_>) -> Requests {
        let labels = LabelSet::new().with("direction", Direction::Outbound);
        Requests::new(self, endpoint.render(labels))
    }

    /// Counts a request that the proxy answered itself. `error` as Linkerd writes it: `failfast`,
    /// `loadshed`, `i/o`, `gateway loop`, `identity required`, `response timeout`, `unexpected`, …
    pub fn http_error(&self, direction: Direction, error: &str) {
        let definition = match direction {
            Direction::Inbound => &ERRORS_INBOUND,
            Direction::Outbound => &ERRORS_OUTBOUND,
        };
        self.counter(definition, LabelSet::new().with("error", error))
            .increment();
    }
}

// === impl Requests ===

impl Requests {
    fn new(telemetry: &Telemetry, labels: LabelSet) -> Self {
        Self(Arc::new(Inner {
            telemetry: telemetry.clone(),
            requests: telemetry.counter(&REQUEST_TOTAL, labels.clone()),
            labels,
            responses: ByKey::default(),
            latencies: ByKey::default(),
        }))
    }

    /// Counts a request whose head arrived.
    pub fn request(&self) {
        self.0.requests.increment();
        if mutants::active(Mutant::RequestsCountedTwice) && fastrand::u32(..10) == 0 {
            self.0.requests.increment();
        }
    }

    /// Counts a response whose stream ended, `latency` after its request's head.
    pub fn response(&self, mut outcome: Outcome, latency: Duration) {
        let inner = &self.0;
        if mutants::active(Mutant::GrpcJudgedAsHttp) && outcome.grpc_status.is_some() {
            outcome.class = outcome
                .status
                .map_or(Class::Failure, |s| Outcome::http(s).class);
        }
        let make = || {
            let labels = with_outcome(inner.labels.clone(), outcome);
            inner.telemetry.counter(&RESPONSE_TOTAL, labels)
        };
        inner.responses.with(outcome, make, Counter::increment);
        let make = || {
            let labels = with_status(inner.labels.clone(), outcome.status);
            inner.telemetry.histogram(&RESPONSE_LATENCY, labels)
        };
        inner
            .latencies
            .with(outcome.status, make, |histogram| histogram.observe(latency));
    }
}

pub(super) fn with_status(labels: LabelSet, status: Option<u16>) -> LabelSet {
    match status {
        Some(status) => labels.with("status_code", status),
        None => labels,
    }
}

pub(super) fn with_outcome(labels: LabelSet, outcome: Outcome) -> LabelSet {
    let labels = with_status(labels, outcome.status).with("classification", outcome.class);
    let labels = match outcome.grpc_status {
        Some(code) => labels.with("grpc_status", code),
        None => labels.with("grpc_status", ""),
    };
    labels.with("error", outcome.error.unwrap_or_default())
}

// === impl Direction ===

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}

// === impl Class ===

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Failure => "failure",
        })
    }
}

// === impl Outcome ===

impl Outcome {
    /// A complete HTTP response; a failure from 500 on.
    #[must_use]
    pub const fn http(status: u16) -> Self {
        let class = if status >= 500 {
            Class::Failure
        } else {
            Class::Success
        };
        Self {
            status: Some(status),
            class,
            grpc_status: None,
            error: None,
        }
    }

    /// A complete gRPC response. Failures are the codes for which the server is to blame: unknown,
    /// deadline exceeded, permission denied, internal, unavailable, data loss.
    #[must_use]
    pub const fn grpc(status: u16, code: u16) -> Self {
        let class = match code {
            2 | 4 | 7 | 13 | 14 | 15 => Class::Failure,
            _ => Class::Success,
        };
        Self {
            status: Some(status),
            class,
            grpc_status: Some(code),
            error: None,
        }
    }

    /// A response that did not come, or not to its end.
    #[must_use]
    pub const fn failed(status: Option<u16>, error: &'static str) -> Self {
        Self {
            status,
            class: Class::Failure,
            grpc_status: None,
            error: Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InboundRequestLabels, Outcome, Telemetry};
    use crate::policy::Meta;
    use crate::tls::{InboundTls, NoInboundTls};
    use std::time::Duration;

    #[tokio::test]
    async fn outcomes_are_the_last_labels() {
        let telemetry = Telemetry::new(Duration::from_secs(1));
        let default = Meta::Default("default".into());
        let labels = |authority| InboundRequestLabels {
            target: "10.0.0.1:80".parse().expect("valid"),
            tls: &InboundTls::None(NoInboundTls::NoTlsFromRemote),
            server: &default,
            server_port: 80,
            route: &default,
            authz: &default,
            authority,
        };
        let requests = telemetry.inbound_requests(labels(""));
        let named = telemetry.inbound_requests(labels("web:8080"));
        requests.request();
        requests.response(Outcome::http(503), Duration::from_micros(1500));
        requests.response(Outcome::grpc(200, 5), Duration::from_micros(500));
        let mut text = String::new();
        telemetry.encode(&mut text);
        drop(named);
        for line in [
            "request_total{direction=\"inbound\",target_addr=\"10.0.0.1:80\",",
            "request_total{direction=\"inbound\",authority=\"web:8080\",target_addr=\"",
            "no_tls_reason=\"no_tls_from_remote\",srv_group=\"\",srv_kind=\"default\",\
             srv_name=\"default\",srv_port=\"80\",route_group=\"\",route_kind=\"default\",\
             route_name=\"default\",authz_group=\"\",authz_kind=\"default\",\
             authz_name=\"default\",status_code=\"503\",classification=\"failure\",\
             grpc_status=\"\",error=\"\"} 1\n",
            "status_code=\"200\",classification=\"success\",grpc_status=\"5\",error=\"\"} 1\n",
            "status_code=\"503\",le=\"2\"} 1\n",
            "status_code=\"503\",le=\"1\"} 0\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }
}
