//! The sidecar of the reference mesh.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
pub mod app;
pub mod balance;
pub mod config;
pub mod control;
pub mod detect;
pub mod discovery;
pub mod drain;
pub mod http;
pub mod identity;
pub mod inbound;
pub mod mutants;
pub mod outbound;
pub mod policy;
pub mod readiness;
pub mod telemetry;
pub mod tls;
pub mod transport;
