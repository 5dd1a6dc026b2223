//! Connections: accepting and dialling them, where they were meant to go, bytes in both directions.

pub mod connect;
pub mod copy;
pub mod deal;
pub mod header;
mod io;
pub mod listen;

pub use self::io::{Io, Rewind};
