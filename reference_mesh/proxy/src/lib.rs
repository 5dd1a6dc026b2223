//! The sidecar of the reference mesh.

pub mod config;
pub mod detect;
pub mod control;
pub mod discovery;
pub mod drain;
pub mod http;
pub mod identity;
pub mod mutants;
pub mod policy;
pub mod telemetry;
pub mod tls;
pub mod transport;
