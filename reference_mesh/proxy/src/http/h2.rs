//! HTTP/2, on the `h2` crate: one task per connection, and on the server one per stream.

mod client;
mod clients;
mod incoming;
mod keep_alive;
mod send;
mod server;

use std::ops::RangeInclusive;

pub use self::client::{Client, SendError};
pub use self::clients::Clients;
pub use self::incoming::Incoming;
pub use self::keep_alive::KeepAlive;
pub use self::server::{UpstreamReset, serve};

/// Largest frames that a peer may be allowed, in bytes (RFC 9113 6.5.2).
pub const FRAME_SIZES: RangeInclusive<u32> = 16_384..=16_777_215;

/// Flow-control windows, in bytes (RFC 9113 6.9.1); none at all would let nothing through.
pub const WINDOWS: RangeInclusive<u32> = 1..=i32::MAX as u32;

/// Largest header list that is accepted, in bytes.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Bytes of a stream that wait in `h2` to be written. A chunk of a body, no more: what comes after
/// waits at its source.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Streams of a client at a time, where nothing else is set. A peer's proxy carries the requests of
/// all its clients on one connection.
const MAX_STREAMS: u32 = 1000;

/// Streams that were reset here and for which frames may still come: each is remembered for a second.
/// `h2` remembers 50 by itself, and takes frames of others for breaches of the protocol.
const MAX_FORGOTTEN_STREAMS: usize = MAX_STREAMS as usize;

/// Flow-control window of a connection, in bytes. Each stream whose reader stalls holds its own window
/// of it: with linkerd2-proxy's 1 MiB sixteen of them stop all others between two proxies, which they
/// do not where each has a connection of its own. Now it takes 128.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Sizes and pings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Flow-control window of a stream, in bytes.
    pub stream_window: u32,
    /// Flow-control window of the connection, in bytes.
    pub connection_window: u32,
    /// Streams that a client may have open (server role).
    pub max_streams: u32,
    /// Largest frame that is accepted, in bytes.
    pub max_frame: u32,
    /// Largest header list that is accepted, in bytes.
    pub max_header_list: u32,
    /// Bytes of a stream that wait in `h2` to be written.
    pub max_send_buffer: usize,
    /// Streams that a peer reset before they were read (server role), or that were reset here and
    /// are remembered (client role), before the connection is closed or they are forgotten.
    pub max_reset_streams: Option<usize>,
    /// Pings; none sends none.
    pub keep_alive: Option<KeepAlive>,
}

// === impl Settings ===

impl Settings {
    /// What small frames that nobody reads may cost, in bytes by which each falls short of 256, before
    /// the connection is closed for all. `h2` allows half a window by itself; eight stalled readers of
    /// 28-byte messages would use up that of ours. Frames are memory: it cannot be much more.
    fn small_frames_budget(&self) -> usize {
        self.connection_window as usize
    }
}

impl Default for Settings {
    /// What linkerd2-proxy assumes where nothing is set, with limits where it has none, and a wider
    /// window.
    fn default() -> Self {
        Self {
            stream_window: 65_535,
            connection_window: CONNECTION_WINDOW_BYTES,
            max_streams: MAX_STREAMS,
            max_frame: *FRAME_SIZES.start(),
            max_header_list: MAX_HEADER_LIST_BYTES,
            max_send_buffer: MAX_SEND_BUFFER_BYTES,
            max_reset_streams: None,
            keep_alive: None,
        }
    }
}
