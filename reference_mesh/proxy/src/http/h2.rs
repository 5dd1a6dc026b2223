//! HTTP/2, on the `h2` crate: one task per connection, and on the server one per stream.

mod client;
mod incoming;
mod send;
mod server;

pub use self::client::{Client, SendError};
pub use self::incoming::Incoming;
pub use self::server::{UpstreamReset, serve};

/// Largest header list that is accepted, in bytes.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Bytes of a stream that wait in `h2` to be written. A chunk of a body, no more: what comes after
/// waits at its source.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Streams of a client at a time, where nothing else is set. A peer's proxy carries the requests of
/// all its clients on one connection.
const MAX_STREAMS: u32 = 1000;

/// Sizes of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Flow-control window of a stream, in bytes.
    pub stream_window: u32,
    /// Flow-control window of the connection, in bytes.
    pub connection_window: u32,
    /// Streams that a client may have open (server role).
    pub max_streams: Option<u32>,
}
