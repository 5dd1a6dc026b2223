//! HTTP/1 as it is on the wire.
//!
//! A codec of our own, on purpose: the application under a mesh is the witness of what the mesh
//! did to a message. A library would already have normalised the case and order of fields, dropped
//! what it holds for wrong, and would share its reading of RFC 9112 with proxies built on it. This
//! one keeps fields as they came and refuses whatever two readers could read differently.

pub mod body;
pub mod head;
pub mod stream;

pub use body::{Framing, Reader};
pub use head::{Fields, Head};
pub use stream::Inbound;

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer closed before the first byte of a message.
    #[error("closed before a message began")]
    Closed,
    /// The peer closed in the middle of a message.
    #[error("closed inside {0}")]
    Truncated(&'static str),
    /// The bytes are not HTTP/1, or can be read in two ways.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A part is longer than this program takes.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// The transport failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
