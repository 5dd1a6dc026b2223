//! Balancers: endpoints, updates, and the queue in front.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cells::{Counter, Gauge, Histogram};
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry, Unit};
use crate::policy::Meta;

/// Upper bounds in nanoseconds of the time in the queue, up to the fail-fast time-out.
static QUEUE_BOUNDS: &[u64] = &[
    500_000,
    5_000_000,
    50_000_000,
    500_000_000,
    1_000_000_000,
    3_000_000_000,
];

/// The metrics of one kind of balancer.
struct Definitions {
    endpoints: Definition,
    p2c_endpoints: Definition,
    p2c_updates: Definition,
    gate_open_time: Definition,
    gate_open: Definition,
    gate_shut_time: Definition,
    gate_shut: Definition,
    gate_timeout: Definition,
    queue_latency: Definition,
    queue_length: Definition,
    queue_requests: Definition,
}

macro_rules! definitions {
    ($prefix:literal) => {
        Definitions {
            endpoints: Definition {
                name: concat!($prefix, "_balancer_endpoints"),
                help: "The number of endpoints currently in a HTTP request balancer.",
                kind: Kind::Gauge,
            },
            p2c_endpoints: Definition {
                name: concat!($prefix, "_balancer_p2c_endpoints"),
                help: "The current number of endpoints in the P2C balancer.",
                kind: Kind::Gauge,
            },
            p2c_updates: Definition {
                name: concat!($prefix, "_balancer_p2c_updates_total"),
                help: "The total number of service discovery updates by operation.",
                kind: Kind::Counter,
            },
            gate_open_time: Definition {
                name: concat!($prefix, "_balancer_queue_gate_open_time_seconds"),
                help: "The time at which the gate most recently changed to open.",
                kind: Kind::Gauge,
            },
            gate_open: Definition {
                name: concat!($prefix, "_balancer_queue_gate_open_total"),
                help: "The number of times the gate has changed to open.",
                kind: Kind::Counter,
            },
            gate_shut_time: Definition {
                name: concat!($prefix, "_balancer_queue_gate_shut_time_seconds"),
                help: "The time at which the gate most recently changed to shut.",
                kind: Kind::Gauge,
            },
            gate_shut: Definition {
                name: concat!($prefix, "_balancer_queue_gate_shut_total"),
                help: "The number of times the gate has changed to shut.",
                kind: Kind::Counter,
            },
            gate_timeout: Definition {
                name: concat!($prefix, "_balancer_queue_gate_timeout_seconds"),
                help: "The configured timeout for the gate.",
                kind: Kind::Gauge,
            },
            queue_latency: Definition {
                name: concat!($prefix, "_balancer_queue_latency_seconds"),
                help: "The time a request spent in the queue.",
                kind: Kind::Histogram(Unit::Seconds, QUEUE_BOUNDS),
            },
            queue_length: Definition {
                name: concat!($prefix, "_balancer_queue_length"),
                help: "The current number of requests in the queue.",
                kind: Kind::Gauge,
            },
            queue_requests: Definition {
                name: concat!($prefix, "_balancer_queue_requests_total"),
                help: "The total number of requests that have been enqueued.",
                kind: Kind::Counter,
            },
        }
    };
}

static OUTBOUND_HTTP: Definitions = definitions!("outbound_http");
static OUTBOUND_TCP: Definitions = definitions!("outbound_tcp");
static OUTBOUND_TLS: Definitions = definitions!("outbound_tls");
static IDENTITY: Definitions = definitions!("control_identity");
static DESTINATION: Definitions = definitions!("control_destination");
static POLICY: Definitions = definitions!("control_policy");

/// Which balancer.
#[derive(Clone, Copy, Debug)]
pub enum BalancerLabels<'a> {
    /// Of HTTP requests to a backend.
    Http(&'a Meta, &'a Meta),
    /// Of opaque connections to a backend.
    Opaque(&'a Meta, &'a Meta),
    /// Of TLS connections to a backend.
    Tls(&'a Meta, &'a Meta),
    /// Of a control-plane client: `identity`, `destination` or `policy`, and its address.
    Control(&'a str, &'a str),
}

/// An update of the set of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The whole set was replaced.
    Reset,
    /// Endpoints were added or changed.
    Add,
    /// Endpoints were removed.
    Remove,
    /// The destination does not exist.
    DoesNotExist,
}

/// Counters of a balancer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// Requests that waited.
    pub queue_requests: Counter,
    /// Requests that wait now.
    pub queue_length: Gauge,
    /// How long they wait.
    pub queue_latency: Histogram,
    endpoints: EndpointGauge,
    p2c_endpoints: Gauge,
    updates: [Counter; 4],
    gate: Arc<Gate>,
}

/// How many endpoints can take requests, and how many cannot.
#[derive(Clone, Debug)]
struct EndpointGauge {
    ready: Gauge,
    pending: Gauge,
}

#[derive(Debug)]
struct Gate {
    /// -1 before the first change, then 0 shut, 1 open.
    state: AtomicI64,
    opened: Counter,
    opened_at: Gauge,
    shut: Counter,
    shut_at: Gauge,
    /// Constant; kept so that the series is not idle.
    _timeout: Gauge,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counters of a balancer. `failfast_timeout`: how long it may have no ready endpoint before
    /// requests fail.
    #[must_use]
    pub fn balancer(&self, of: BalancerLabels<'_>, failfast_timeout: Duration) -> Balancer {
        let definitions = of.definitions();
        let labels = |first: &str, value: &str| {
            let labels = LabelSet::new();
            of.render(if first.is_empty() {
                labels
            } else {
                labels.with(first, value)
            })
        };
        let count = |definition| self.counter(definition, labels("", ""));
        let gauge = |definition| self.gauge(definition, labels("", ""));
        let endpoints = |state| self.gauge(&definitions.endpoints, labels("endpoint_state", state));
        let update = |op| self.counter(&definitions.p2c_updates, labels("op", op));
        let timeout = gauge(&definitions.gate_timeout);
        timeout.set(i64::try_from(failfast_timeout.as_secs()).unwrap_or(i64::MAX));
        Balancer {
            queue_requests: count(&definitions.queue_requests),
            queue_length: gauge(&definitions.queue_length),
            queue_latency: self.histogram(&definitions.queue_latency, labels("", "")),
            endpoints: EndpointGauge {
                ready: endpoints("ready"),
                pending: endpoints("pending"),
            },
            p2c_endpoints: gauge(&definitions.p2c_endpoints),
            updates: [
                update("Reset"),
                update("Add"),
                update("Remove"),
                update("DoesNotExist"),
            ],
            gate: Arc::new(Gate {
                state: AtomicI64::new(-1),
                opened: count(&definitions.gate_open),
                opened_at: gauge(&definitions.gate_open_time),
                shut: count(&definitions.gate_shut),
                shut_at: gauge(&definitions.gate_shut_time),
                _timeout: timeout,
            }),
        }
    }
}

// === impl BalancerLabels ===

impl BalancerLabels<'_> {
    fn definitions(self) -> &'static Definitions {
        match self {
            Self::Http(..) => &OUTBOUND_HTTP,
            Self::Opaque(..) => &OUTBOUND_TCP,
            Self::Tls(..) => &OUTBOUND_TLS,
            Self::Control("identity", _) => &IDENTITY,
            Self::Control("policy", _) => &POLICY,
            Self::Control(..) => &DESTINATION,
        }
    }

    fn render(self, labels: LabelSet) -> LabelSet {
        match self {
            Self::Http(parent, backend)
            | Self::Opaque(parent, backend)
            | Self::Tls(parent, backend) => labels
                .resource("parent", parent)
                .resource("backend", backend),
            Self::Control(_, addr) => labels.with("addr", addr),
        }
    }
}

// === impl Balancer ===

impl Balancer {
    /// Notes how many endpoints there are.
    pub fn set_endpoints(&self, ready: usize, pending: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.endpoints.ready.set(count(ready));
        self.endpoints.pending.set(count(pending));
        self.p2c_endpoints.set(count(ready + pending));
    }

    /// Counts an update from discovery.
    pub fn updated(&self, update: Update) {
        self.updates[update as usize].increment();
    }

    /// Notes whether any endpoint can take requests; counts changes.
    pub fn set_open(&self, open: bool) {
        let new = i64::from(open);
        if self.gate.state.swap(new, Relaxed) == new {
            return;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let (count, at) = if open {
            (&self.gate.opened, &self.gate.opened_at)
        } else {
            (&self.gate.shut, &self.gate.shut_at)
        };
        count.increment();
        at.set(now);
    }
}
