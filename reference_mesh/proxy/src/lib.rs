//! The sidecar of the reference mesh.

pub mod discovery;
pub mod identity;
pub mod mutants;
pub mod policy;
pub mod telemetry;
pub mod tls;
