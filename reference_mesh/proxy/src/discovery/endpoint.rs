//! One place that serves a destination, and the set of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
    /// `:authority` to send instead of the client's (gateways).
    pub authority_override: Option<Arc<str>>,
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

/// HTTP/2 client settings; none is the proxy's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Params {
    /// Connection window, in bytes.
    pub initial_connection_window_size: Option<u32>,
    /// Stream window, in bytes.
    pub initial_stream_window_size: Option<u32>,
    /// Windows that follow the bandwidth-delay product.
    pub adaptive_flow_control: bool,
    /// Pause between pings and the wait for their answer.
    pub keep_alive: Option<(Duration, Duration)>,
    /// Pings also without streams.
    pub keep_alive_while_idle: bool,
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
    /// The control plane will not resolve this name: use the original destination.
    Rejected,
}

impl Endpoint {
    /// An address of which nothing is known: plain text.
    #[must_use]
    pub fn plain(addr: SocketAddr) -> Self {
        Self {
            addr,
            meta: Arc::default(),
        }
    }
}
