//! Requests by route and backend, by Linkerd's newer names.

use std::sync::Arc;
use std::time::Duration;

use super::by_key::ByKey;
use super::cells::{Counter, Histogram};
use super::http::Outcome;
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry, Unit};
use crate::policy::Meta;

const MS: u64 = 1_000_000;

/// Upper bounds in nanoseconds of whole requests: coarse, since there is one series per route.
static REQUEST_BOUNDS: &[u64] = &[50 * MS, 500 * MS, 1_000 * MS, 10_000 * MS];
/// Upper bounds in nanoseconds of a backend's responses.
static RESPONSE_BOUNDS: &[u64] = &[
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    1_000 * MS,
    10_000 * MS,
];
/// Upper bounds in bytes of DATA frames.
static FRAME_BOUNDS: &[u64] = &[128, 1024, 10_240];

macro_rules! definitions {
    ($($id:ident = $kind:expr, $name:literal, $help:literal;)*) => {
        $(static $id: Definition = Definition { name: $name, help: $help, kind: $kind };)*
    };
}

definitions! {
    HTTP_DURATION = Kind::Histogram(Unit::Seconds, REQUEST_BOUNDS),
        "outbound_http_route_request_duration_seconds",
        "The time between request initialization and response completion.";
    HTTP_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "outbound_http_route_request_frame_size_bytes",
        "Request data frame sizes.";
    HTTP_STATUSES = Kind::Counter,
        "outbound_http_route_request_statuses_total",
        "Completed request-response streams.";
    HTTP_BACKEND_REQUESTS = Kind::Counter,
        "outbound_http_route_backend_requests_total",
        "The total number of requests dispatched.";
    HTTP_BACKEND_DURATION = Kind::Histogram(Unit::Seconds, RESPONSE_BOUNDS),
        "outbound_http_route_backend_response_duration_seconds",
        "The time between request completion and response completion.";
    HTTP_BACKEND_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "outbound_http_route_backend_response_frame_size_bytes",
        "Response data frame sizes.";
    HTTP_BACKEND_STATUSES = Kind::Counter,
        "outbound_http_route_backend_response_statuses_total",
        "Completed responses.";
    HTTP_RETRY_REQUESTS = Kind::Counter,
        "outbound_http_route_retry_requests_total",
        "Retry requests emitted.";
    HTTP_RETRY_SUCCESSES = Kind::Counter,
        "outbound_http_route_retry_successes_total",
        "Successful responses to retry requests.";
    HTTP_RETRY_LIMIT = Kind::Counter,
        "outbound_http_route_retry_limit_exceeded_total",
        "Retryable requests not sent because the retry limit was exceeded.";
    HTTP_RETRY_OVERFLOW = Kind::Counter,
        "outbound_http_route_retry_overflow_total",
        "Retryable requests not sent due to circuit breakers or size.";
    GRPC_DURATION = Kind::Histogram(Unit::Seconds, REQUEST_BOUNDS),
        "outbound_grpc_route_request_duration_seconds",
        "The time between request initialization and response completion.";
    GRPC_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "outbound_grpc_route_request_frame_size_bytes",
        "Request data frame sizes.";
    GRPC_STATUSES = Kind::Counter,
        "outbound_grpc_route_request_statuses_total",
        "Completed request-response streams.";
    GRPC_BACKEND_REQUESTS = Kind::Counter,
        "outbound_grpc_route_backend_requests_total",
        "The total number of requests dispatched.";
    GRPC_BACKEND_DURATION = Kind::Histogram(Unit::Seconds, RESPONSE_BOUNDS),
        "outbound_grpc_route_backend_response_duration_seconds",
        "The time between request completion and response completion.";
    GRPC_BACKEND_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "outbound_grpc_route_backend_response_frame_size_bytes",
        "Response data frame sizes.";
    GRPC_BACKEND_STATUSES = Kind::Counter,
        "outbound_grpc_route_backend_response_statuses_total",
        "Completed responses.";
    GRPC_RETRY_REQUESTS = Kind::Counter,
        "outbound_grpc_route_retry_requests_total",
        "Retry requests emitted.";
    GRPC_RETRY_SUCCESSES = Kind::Counter,
        "outbound_grpc_route_retry_successes_total",
        "Successful responses to retry requests.";
    GRPC_RETRY_LIMIT = Kind::Counter,
        "outbound_grpc_route_retry_limit_exceeded_total",
        "Retryable requests not sent because the retry limit was exceeded.";
    GRPC_RETRY_OVERFLOW = Kind::Counter,
        "outbound_grpc_route_retry_overflow_total",
        "Retryable requests not sent due to circuit breakers or size.";
    INBOUND_REQUESTS = Kind::Counter,
        "inbound_http_requests_total",
        "The total number of requests dispatched.";
    INBOUND_REQUEST_DURATION = Kind::Histogram(Unit::Seconds, REQUEST_BOUNDS),
        "inbound_http_request_duration_seconds",
        "The time between request initialization and response completion.";
    INBOUND_RESPONSE_DURATION = Kind::Histogram(Unit::Seconds, RESPONSE_BOUNDS),
        "inbound_http_response_duration_seconds",
        "The time between request completion and response completion.";
    INBOUND_REQUEST_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "inbound_http_request_frame_size_bytes",
        "Request data frame sizes.";
    INBOUND_RESPONSE_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "inbound_http_response_frame_size_bytes",
        "Response data frame sizes.";
    INBOUND_STATUSES = Kind::Counter,
        "inbound_http_statuses_total",
        "Completed request-response streams.";
    INBOUND_GRPC_REQUESTS = Kind::Counter,
        "inbound_grpc_requests_total",
        "The total number of requests dispatched.";
    INBOUND_GRPC_REQUEST_DURATION = Kind::Histogram(Unit::Seconds, REQUEST_BOUNDS),
        "inbound_grpc_request_duration_seconds",
        "The time between request initialization and response completion.";
    INBOUND_GRPC_RESPONSE_DURATION = Kind::Histogram(Unit::Seconds, RESPONSE_BOUNDS),
        "inbound_grpc_response_duration_seconds",
        "The time between request completion and response completion.";
    INBOUND_GRPC_REQUEST_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "inbound_grpc_request_frame_size_bytes",
        "Request data frame sizes.";
    INBOUND_GRPC_RESPONSE_FRAMES = Kind::Histogram(Unit::Bytes, FRAME_BOUNDS),
        "inbound_grpc_response_frame_size_bytes",
        "Response data frame sizes.";
    INBOUND_GRPC_STATUSES = Kind::Counter,
        "inbound_grpc_statuses_total",
        "Completed request-response streams.";
}

/// How a stream ended: a status (HTTP, or gRPC on gRPC routes), or an error such as `FAIL_FAST`,
/// `LOAD_SHED`, `REQUEST_TIMEOUT`, `RESPONSE_HEADERS_TIMEOUT`, `IDLE_TIMEOUT`, `CANCEL`, `REFUSED`,
/// `RESET`, `GO_AWAY`, `IO` or `UNKNOWN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteStatus {
    /// The status, if there is one.
    pub status: Option<u16>,
    /// The error, if there is one.
    pub error: Option<&'static str>,
}

/// Counters of an outbound route. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RouteRequests {
    /// Whole requests.
    pub duration: Histogram,
    /// Request DATA frames.
    pub frame_size: Histogram,
    /// Retries that were sent.
    pub retries: Counter,
    /// Retries that succeeded.
    pub retry_successes: Counter,
    /// Failures not retried because there were enough attempts.
    pub retry_limit_exceeded: Counter,
    /// Failures not retried because the body was too large to keep.
    pub retry_overflow: Counter,
    statuses: Arc<Statuses>,
}

/// Counters of a backend of an outbound route. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BackendRequests {
    /// Requests sent to it.
    pub requests: Counter,
    /// Its responses, from the whole request on.
    pub duration: Histogram,
    /// Response DATA frames.
    pub frame_size: Histogram,
    statuses: Arc<Statuses>,
}

/// Counters of an inbound route. Cheap to clone.
#[derive(Clone, Debug)]
pub struct InboundRoute {
    /// Requests sent to the application.
    pub requests: Counter,
    /// Whole requests.
    pub request_duration: Histogram,
    /// Responses, from the whole request on.
    pub response_duration: Histogram,
    /// Request DATA frames.
    pub request_frame_size: Histogram,
    /// Response DATA frames.
    pub response_frame_size: Histogram,
    statuses: Arc<Statuses>,
}

/// One counter per way to end.
#[derive(Debug)]
struct Statuses {
    telemetry: Telemetry,
    definition: &'static Definition,
    labels: LabelSet,
    /// Label of the status.
    key: &'static str,
    /// Whether an error has a label of its own.
    with_error: bool,
    counters: ByKey<RouteStatus, Counter>,
}

// === impl RouteStatus ===

impl RouteStatus {
    /// The part of `outcome` that routes count by.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self {
            status: outcome.grpc_status.or(outcome.status),
            error: outcome.error,
        }
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Counters of an outbound route. `hostname` is empty unless labels by host are asked for.
    #[must_use]
    pub fn outbound_route(
        &self,
        grpc: bool,
        parent: &Meta,
        route: &Meta,
        hostname: &str,
    ) -> RouteRequests {
        let short = LabelSet::new()
            .resource("parent", parent)
            .route("route", route);
        let labels = short.clone().with("hostname", hostname);
        let pick = |http: &'static Definition, of_grpc| if grpc { of_grpc } else { http };
        let count = |http, of_grpc| self.counter(pick(http, of_grpc), short.clone());
        let observe = |http, of_grpc| self.histogram(pick(http, of_grpc), labels.clone());
        RouteRequests {
            duration: observe(&HTTP_DURATION, &GRPC_DURATION),
            frame_size: observe(&HTTP_FRAMES, &GRPC_FRAMES),
            retries: count(&HTTP_RETRY_REQUESTS, &GRPC_RETRY_REQUESTS),
            retry_successes: count(&HTTP_RETRY_SUCCESSES, &GRPC_RETRY_SUCCESSES),
            retry_limit_exceeded: count(&HTTP_RETRY_LIMIT, &GRPC_RETRY_LIMIT),
            retry_overflow: count(&HTTP_RETRY_OVERFLOW, &GRPC_RETRY_OVERFLOW),
            statuses: Statuses::outbound(self, pick(&HTTP_STATUSES, &GRPC_STATUSES), labels, grpc),
        }
    }

    /// Counters of a backend of an outbound route.
    #[must_use]
    pub fn outbound_backend(
        &self,
        grpc: bool,
        parent: &Meta,
        route: &Meta,
        backend: &Meta,
    ) -> BackendRequests {
        let labels = LabelSet::new()
            .resource("parent", parent)
            .route("route", route)
            .resource("backend", backend);
        let pick = |http: &'static Definition, of_grpc| if grpc { of_grpc } else { http };
        let observe = |http, of_grpc| self.histogram(pick(http, of_grpc), labels.clone());
        let requests = pick(&HTTP_BACKEND_REQUESTS, &GRPC_BACKEND_REQUESTS);
        let statuses = pick(&HTTP_BACKEND_STATUSES, &GRPC_BACKEND_STATUSES);
        BackendRequests {
            requests: self.counter(requests, labels.clone()),
            duration: observe(&HTTP_BACKEND_DURATION, &GRPC_BACKEND_DURATION),
            frame_size: observe(&HTTP_BACKEND_FRAMES, &GRPC_BACKEND_FRAMES),
            statuses: Statuses::outbound(self, statuses, labels.clone(), grpc),
        }
    }

    /// Counters of an inbound route.
    #[must_use]
    pub fn inbound_route(
        &self,
        grpc: bool,
        server: &Meta,
        port: u16,
        route: &Meta,
    ) -> InboundRoute {
        let labels = LabelSet::new()
            .short("parent", server)
            .with("parent_port", port)
            .short("route", route);
        let pick = |http: &'static Definition, of_grpc| if grpc { of_grpc } else { http };
        let observe = |http, of_grpc| self.histogram(pick(http, of_grpc), labels.clone());
        InboundRoute {
            requests: self.counter(
                pick(&INBOUND_REQUESTS, &INBOUND_GRPC_REQUESTS),
                labels.clone(),
            ),
            request_duration: observe(&INBOUND_REQUEST_DURATION, &INBOUND_GRPC_REQUEST_DURATION),
            response_duration: observe(&INBOUND_RESPONSE_DURATION, &INBOUND_GRPC_RESPONSE_DURATION),
            request_frame_size: observe(&INBOUND_REQUEST_FRAMES, &INBOUND_GRPC_REQUEST_FRAMES),
            response_frame_size: observe(&INBOUND_RESPONSE_FRAMES, &INBOUND_GRPC_RESPONSE_FRAMES),
            statuses: Arc::new(Statuses {
                telemetry: self.clone(),
                definition: pick(&INBOUND_STATUSES, &INBOUND_GRPC_STATUSES),
                labels: labels.clone(),
                key: "status",
                with_error: false,
                counters: ByKey::default(),
            }),
        }
    }
}

// === impl RouteRequests ===

impl RouteRequests {
    /// Counts a request whose stream ended.
    pub fn ended(&self, status: RouteStatus, elapsed: Duration) {
        self.duration.observe(elapsed);
        self.statuses.count(status);
    }
}

// === impl BackendRequests ===

impl BackendRequests {
    /// Counts a response whose stream ended, `elapsed` after the whole request was sent.
    pub fn ended(&self, status: RouteStatus, elapsed: Duration) {
        self.duration.observe(elapsed);
        self.statuses.count(status);
    }
}

// === impl InboundRoute ===

impl InboundRoute {
    /// Counts a stream that ended: `request` after its head came, `response` after its body did.
    pub fn ended(&self, status: RouteStatus, request: Duration, response: Duration) {
        self.request_duration.observe(request);
        self.response_duration.observe(response);
        self.statuses.count(status);
    }
}

// === impl Statuses ===

impl Statuses {
    fn outbound(
        telemetry: &Telemetry,
        definition: &'static Definition,
        labels: LabelSet,
        grpc: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            telemetry: telemetry.clone(),
            definition,
            labels,
            key: if grpc { "grpc_status" } else { "http_status" },
            with_error: true,
            counters: ByKey::default(),
        })
    }

    fn count(&self, status: RouteStatus) {
        let make = || {
            let text = status
                .status
                .map_or(String::new(), |status| status.to_string());
            let mut labels = self.labels.clone();
            if self.with_error {
                labels = labels
                    .with(self.key, text)
                    .with("error", status.error.unwrap_or_default());
            } else {
                labels = labels.with(self.key, if text.is_empty() { "error" } else { &text });
            }
            self.telemetry.counter(self.definition, labels)
        };
        self.counters.with(status, make, Counter::increment);
    }
}

#[cfg(test)]
mod tests {
    use super::{RouteStatus, Telemetry};
    use crate::policy::Meta;
    use std::time::Duration;

    #[tokio::test]
    async fn an_outbound_route_counts_by_status_and_error() {
        let telemetry = Telemetry::new(Duration::from_secs(1));
        let parent = Meta::Resource {
            group: "core".into(),
            kind: "Service".into(),
            name: "web".into(),
            namespace: "ns".into(),
            section: "".into(),
            port: Some(80),
        };
        let route = Meta::Default("http".into());
        let requests = telemetry.outbound_route(false, &parent, &route, "");
        requests.ended(
            RouteStatus {
                status: Some(200),
                error: None,
            },
            Duration::from_millis(3),
        );
        let failed = RouteStatus {
            status: None,
            error: Some("FAIL_FAST"),
        };
        requests.ended(failed, Duration::from_secs(3));
        let mut text = String::new();
        telemetry.encode(&mut text);
        let labels = "parent_group=\"core\",parent_kind=\"Service\",parent_namespace=\"ns\",\
                      parent_name=\"web\",parent_port=\"80\",parent_section_name=\"\",\
                      route_group=\"\",route_kind=\"default\",route_namespace=\"\",\
                      route_name=\"http\",hostname=\"\"";
        let name = "outbound_http_route_request_statuses_total";
        for line in [
            format!("{name}{{{labels},http_status=\"200\",error=\"\"}} 1\n"),
            format!("{name}{{{labels},http_status=\"\",error=\"FAIL_FAST\"}} 1\n"),
        ] {
            assert!(text.contains(&line), "no {line} in {text}");
        }
    }
}
