//! The test application of the harness: server, client and helper container in one program.
//!
//! ```text
//! options, application, helper   the two processes
//! control, calls, records        their control ports
//! serve                          listeners, steering, ledger
//! call                           plans, schedules, outcomes
//! http1, h2io, websocket         protocols, used by both sides
//! transport, replay              byte streams under them
//! relay                          a proxy that does nothing, to compare with
//! seeded, clock                  bodies and time
//! ```

#![deny(unsafe_code)]

pub mod application;
pub mod call;
pub mod calls;
pub mod clock;
pub mod control;
pub mod h2io;
pub mod helper;
pub mod http1;
pub mod options;
pub mod records;
pub mod relay;
pub mod replay;
pub mod seeded;
pub mod serve;
pub mod transport;
pub mod websocket;
