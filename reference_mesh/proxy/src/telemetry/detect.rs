//! Protocol detection: what was found, and how long it took.

use std::time::Duration;

use super::cells::{Counter, Histogram};
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry, Unit};
use crate::policy::Meta;

/// Upper bounds in nanoseconds: a local client, a slow one, a time-out.
static BOUNDS: &[u64] = &[10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

static INBOUND_RESULTS: Definition = Definition {
    name: "inbound_tcp_detect_http_results_total",
    help: "HTTP detection results.",
    kind: Kind::Counter,
};
static INBOUND_DURATION: Definition = Definition {
    name: "inbound_tcp_detect_http_duration_seconds",
    help: "HTTP detection duration.",
    kind: Kind::Histogram(Unit::Seconds, BOUNDS),
};
static OUTBOUND_RESULTS: Definition = Definition {
    name: "outbound_tcp_detect_http_results_total",
    help: "HTTP detection results.",
    kind: Kind::Counter,
};
static OUTBOUND_DURATION: Definition = Definition {
    name: "outbound_tcp_detect_http_duration_seconds",
    help: "HTTP detection duration.",
    kind: Kind::Histogram(Unit::Seconds, BOUNDS),
};

/// What the first bytes of a connection were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectResult {
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Something else.
    NotHttp,
    /// Nothing came in time.
    ReadTimeout,
    /// The connection broke or ended first.
    Error,
}

/// Counters of one port's or target's detections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Detect {
    http1: Counter,
    http2: Counter,
    not_http: Counter,
    timeout: Counter,
    error: Counter,
    duration: Histogram,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counters of an inbound port.
    #[must_use]
    pub fn inbound_detect(&self, server: &Meta, port: u16) -> Detect {
        let labels = |labels: LabelSet| labels.server(server, port);
        Detect::new(self, &INBOUND_RESULTS, &INBOUND_DURATION, labels)
    }

    /// Counters of an outbound target.
    #[must_use]
    pub fn outbound_detect(&self, parent: &Meta) -> Detect {
        let labels = |labels: LabelSet| labels.resource("parent", parent);
        Detect::new(self, &OUTBOUND_RESULTS, &OUTBOUND_DURATION, labels)
    }
}

// === impl Detect ===

impl Detect {
    fn new(
        telemetry: &Telemetry,
        results: &'static Definition,
        duration: &'static Definition,
        labels: impl Fn(LabelSet) -> LabelSet,
    ) -> Self {
        let result = |result: &str| {
            telemetry.counter(results, labels(LabelSet::new().with("result", result)))
        };
        Self {
            http1: result("http/1"),
            http2: result("http/2"),
            not_http: result("not_http"),
            timeout: result("read_timeout"),
            error: result("error"),
            duration: telemetry.histogram(duration, labels(LabelSet::new())),
        }
    }

    /// Counts a detection.
    pub fn found(&self, result: DetectResult, elapsed: Duration) {
        match result {
            DetectResult::Http1 => self.http1.increment(),
            DetectResult::Http2 => self.http2.increment(),
            DetectResult::NotHttp => self.not_http.increment(),
            DetectResult::ReadTimeout => self.timeout.increment(),
            DetectResult::Error => self.error.increment(),
        }
        self.duration.observe(elapsed);
    }
}
