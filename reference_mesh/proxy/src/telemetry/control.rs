//! The proxy's own calls to its control plane.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::by_key::ByKey;
use super::cells::{Counter, Gauge, Histogram};
use super::http::{LATENCY_BOUNDS, Outcome, with_outcome, with_status};
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry, Unit};
use crate::tls::OutboundTls;

static REQUEST_TOTAL: Definition = Definition {
    name: "control_request_total",
    help: "Total count of HTTP requests.",
    kind: Kind::Counter,
};
static RESPONSE_TOTAL: Definition = Definition {
    name: "control_response_total",
    help: "Total count of HTTP responses.",
    kind: Kind::Counter,
};
static RESPONSE_LATENCY: Definition = Definition {
    name: "control_response_latency_ms",
    help: "Elapsed times between a request's headers being received and its response stream \
           completing",
    kind: Kind::Histogram(Unit::LegacyMs, LATENCY_BOUNDS),
};
static DNS_RESOLUTIONS: Definition = Definition {
    name: "control_dns_resolutions_total",
    help: "Counts the number of DNS record resolutions.",
    kind: Kind::Counter,
};
static CERT_EXPIRATION: Definition = Definition {
    name: "control_identity_cert_expiration_timestamp_seconds",
    help: "Time when this proxy's current mTLS identity certificate will expire (in seconds since \
           the UNIX epoch).",
    kind: Kind::Gauge,
};
static CERT_REFRESH: Definition = Definition {
    name: "control_identity_cert_refresh_timestamp_seconds",
    help: "Time when this proxy's current mTLS identity certificate were last updated.",
    kind: Kind::Gauge,
};
static CERT_REFRESHES: Definition = Definition {
    name: "control_identity_cert_refreshes_total",
    help: "The total number of times this proxy's mTLS identity certificate has been refreshed by \
           the Identity provider.",
    kind: Kind::Counter,
};

/// Counters of a control-plane client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    telemetry: Telemetry,
    labels: LabelSet,
    requests: Counter,
    responses: ByKey<Outcome, Counter>,
    latencies: ByKey<Option<u16>, Histogram>,
}

/// Metrics of the workload's certificate.
#[derive(Clone, Debug)]
pub struct IdentityMetrics {
    expiration: Gauge,
    refresh: Gauge,
    refreshed: Counter,
    failed: Counter,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counters of the calls to `addr` (`host:port`).
    #[must_use]
    pub fn control_client(&self, addr: &str, tls: &OutboundTls) -> ControlClient {
        let labels = LabelSet::new().with("addr", addr).outbound_tls(tls);
        ControlClient(Arc::new(Inner {
            telemetry: self.clone(),
            requests: self.counter(&REQUEST_TOTAL, labels.clone()),
            labels,
            responses: ByKey::default(),
            latencies: ByKey::default(),
        }))
    }

    /// Metrics of the workload's certificate.
    #[must_use]
    pub fn identity(&self) -> IdentityMetrics {
        let refreshes =
            |result| self.counter(&CERT_REFRESHES, LabelSet::new().with("result", result));
        IdentityMetrics {
            expiration: self.gauge(&CERT_EXPIRATION, LabelSet::new()),
            refresh: self.gauge(&CERT_REFRESH, LabelSet::new()),
            refreshed: refreshes("ok"),
            failed: refreshes("error"),
        }
    }

    /// Counts a look-up for a control-plane client.
    pub fn dns_resolution(&self, client: &str, record_type: &str, ok: bool) {
        let labels = LabelSet::new()
            .with("client", client)
            .with("record_type", record_type)
            .with("result", if ok { "ok" } else { "error" });
        self.counter(&DNS_RESOLUTIONS, labels).increment();
    }
}

// === impl ControlClient ===

impl ControlClient {
    /// Counts a call that was sent.
    pub fn request(&self) {
        self.0.requests.increment();
    }

    /// Counts a call that ended.
    pub fn response(&self, outcome: Outcome, latency: Duration) {
        let inner = &self.0;
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

// === impl IdentityMetrics ===

impl IdentityMetrics {
    /// Notes a new certificate and the end of its life.
    pub fn refreshed(&self, expiry: SystemTime) {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        };
        self.expiration.set(seconds(expiry));
        self.refresh.set(seconds(SystemTime::now()));
        self.refreshed.increment();
    }

    /// Counts a call that gave no certificate.
    pub fn failed(&self) {
        self.failed.increment();
    }
}
