//! Counting what happens, at a price the data path can pay.
//!
//! Labels are rendered once, when a connection, route or endpoint is made, and give a handle. What a
//! request then costs is an addition to an atomic that (with several cores) no other thread writes:
//! counters are split per worker and summed when scraped. A handle keeps its series alive; a series
//! without handles is forgotten after the idle time, so that pods that come and go do not pile up.
//!
//! Names, label keys and their order are those of linkerd2-proxy: dashboards and `viz` read them.

pub mod access_log;
mod authz;
mod balancer;
mod by_key;
mod cells;
mod control;
mod detect;
mod distinct;
mod http;
mod labels;
pub mod log;
mod names;
mod process;
mod registry;
mod route;
mod spans;
mod tcp;

pub use self::access_log::AccessLog;
pub use self::authz::InboundTarget;
pub use self::balancer::{Balancer, BalancerLabels, Update};
pub use self::cells::{Counter, Gauge, Histogram, set_worker, set_workers};
pub use self::control::{ControlClient, IdentityMetrics};
pub use self::detect::{Detect, DetectResult};
pub use self::distinct::Distinct;
pub use self::http::{Class, Direction, InboundRequestLabels, Outcome, Requests};
pub use self::labels::LabelSet;
pub use self::names::{host_and_port, hostname};
pub use self::registry::{Definition, Kind, Telemetry, Unit};
pub use self::route::{BackendRequests, InboundRoute, RouteRequests, RouteStatus};
pub use self::tcp::{EndpointLabels, Open, Transport, TransportLabels};
