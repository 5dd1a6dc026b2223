//! One place that serves a destination, and the set of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::uri::Authority;

use crate::http::h2::{KeepAlive, Settings};
use crate::policy::Meta;
use crate::tls::ServerTls;

/// Labels of an endpoint (`dst_*` in metrics), in key order.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Endpoints by address, so that two sets compare and iterate in the same order.
pub type Endpoints = Arc<BTreeMap<SocketAddr, Endpoint>>;

/// Where requests can be sent, and what is known of it. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The application's address.
    pub addr: SocketAddr,
    /// The rest; shared by clones, compared by value.
    pub meta: Arc<EndpointMeta>,
}

/// What the control plane says of an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointMeta {
    /// Labels of the set, overlaid with the endpoint's own.
    pub labels: Labels,
    /// The identity to ask for; none is plain text.
    pub tls: Option<ServerTls>,
    /// What the peer's proxy understands.
    pub protocol_hint: ProtocolHint,
    /// The peer's inbound proxy port, when it takes the transport header.
    pub opaque_transport_port: Option<u16>,
    /// `:authority` to send instead of the client's (gateways). With a port, it is the service that
    /// the gateway routes to.
    pub authority_override: Option<Authority>,
    /// HTTP/2 settings for connections to it.
    pub http2: Http2Params,
    /// The endpoint's resource.
    pub resource: Option<Arc<Meta>>,
    /// The control plane's weight, which P2C does not use.
    pub weight: u32,
}

/// What the peer's proxy understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolHint {
    /// Nothing is known: the client's protocol.
    #[default]
    Unknown,
    /// HTTP/1 may be carried over HTTP/2.
    H2,
    /// The port is opaque: bytes, even when they are HTTP.
    Opaque,
}

/// HTTP/2 client settings; none is the proxy's default. Adaptive flow control is not among them:
/// windows are fixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Params {
    /// Connection window, in bytes.
    pub initial_connection_window_size: Option<u32>,
    /// Stream window, in bytes.
    pub initial_stream_window_size: Option<u32>,
    /// Pings.
    pub keep_alive: Option<KeepAlive>,
    /// Reset streams that are remembered.
    pub max_concurrent_reset_streams: Option<usize>,
    /// Largest frame to receive, in bytes.
    pub max_frame_size: Option<u32>,
    /// Bytes that one stream may buffer.
    pub max_send_buf_size: Option<usize>,
}

/// What is known of a destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum EndpointsState {
    /// Nothing yet.
    #[default]
    Pending,
    /// These, at least one.
    Known(Endpoints),
    /// None now.
    Empty {
        /// Whether the destination exists.
        exists: bool,
    },
}

// === impl Endpoint ===

impl Endpoint {
    /// An address of which nothing is known: plain text.
    #[must_use]
    pub fn plain(addr: SocketAddr) -> Self {
        Self {
            addr,
            meta: Arc::default(),
        }
    }

    /// The same place for one in its pod: what is announced of its proxy is left out, for nothing on
    /// the way leads through that.
    #[must_use]
    pub fn within_pod(&self) -> Self {
        let meta = EndpointMeta {
            tls: None,
            protocol_hint: ProtocolHint::Unknown,
            opaque_transport_port: None,
            authority_override: None,
            ..EndpointMeta::clone(&self.meta)
        };
        Self {
            addr: self.addr,
            meta: Arc::new(meta),
        }
    }
}

// === impl Http2Params ===

impl Http2Params {
    /// These settings, and `base` where they say nothing.
    #[must_use]
    pub fn over(&self, base: Settings) -> Settings {
        let stream_window = self.initial_stream_window_size;
        let connection_window = self.initial_connection_window_size;
        Settings {
            stream_window: stream_window.unwrap_or(base.stream_window),
            connection_window: connection_window.unwrap_or(base.connection_window),
            max_frame: self.max_frame_size.unwrap_or(base.max_frame),
            max_send_buffer: self.max_send_buf_size.unwrap_or(base.max_send_buffer),
            max_reset_streams: self.max_concurrent_reset_streams.or(base.max_reset_streams),
            keep_alive: self.keep_alive.or(base.keep_alive),
            ..base
        }
    }
}
