//! Connections: how many, how much, and how they ended.

use std::net::SocketAddr;
use std::sync::Arc;

use super::by_key::ByKey;
use super::cells::{Counter, Gauge};
use super::labels::LabelSet;
use super::registry::{Definition, Kind, Telemetry};
use crate::discovery::Labels;
use crate::policy::Meta;
use crate::tls::{InboundTls, NoInboundTls, OutboundTls};

static OPEN_TOTAL: Definition = Definition {
    name: "tcp_open_total",
    help: "Total count of opened connections.",
    kind: Kind::Counter,
};
static OPEN_CONNECTIONS: Definition = Definition {
    name: "tcp_open_connections",
    help: "Number of currently-open connections.",
    kind: Kind::Gauge,
};
static READ_BYTES: Definition = Definition {
    name: "tcp_read_bytes_total",
    help: "Total count of bytes read from peers.",
    kind: Kind::Counter,
};
static WRITE_BYTES: Definition = Definition {
    name: "tcp_write_bytes_total",
    help: "Total count of bytes written to peers.",
    kind: Kind::Counter,
};
static CLOSE_TOTAL: Definition = Definition {
    name: "tcp_close_total",
    help: "Total count of closed connections.",
    kind: Kind::Counter,
};
static ERRORS_INBOUND: Definition = Definition {
    name: "inbound_tcp_errors_total",
    help: "The total number of inbound TCP connections that could not be processed.",
    kind: Kind::Counter,
};
static ERRORS_OUTBOUND: Definition = Definition {
    name: "outbound_tcp_errors_total",
    help: "The total number of outbound TCP connections that could not be processed.",
    kind: Kind::Counter,
};
static TRANSPORT_HEADERS: Definition = Definition {
    name: "inbound_tcp_transport_header_connections_total",
    help: "TCP connections with transport headers.",
    kind: Kind::Counter,
};
static PROTOCOLS: Definition = Definition {
    name: "outbound_tcp_protocol_connections_total",
    help: "Outbound TCP protocol connections.",
    kind: Kind::Counter,
};
static TRANSFER_COST: Definition = Definition {
    name: "outbound_tcp_transfer_cost_bytes_total",
    help: "The total amount of data transferred in and out of this proxy, by cost zone.",
    kind: Kind::Counter,
};

/// Which connections are counted.
#[derive(Clone, Copy, Debug)]
pub enum TransportLabels<'a> {
    /// Accepted for this workload.
    InboundAccept {
        /// Original destination.
        target: SocketAddr,
        /// Its TLS.
        tls: &'a InboundTls,
        /// Policy of the port.
        server: &'a Meta,
        /// The port that the policy is of.
        server_port: u16,
    },
    /// Dialled to the workload's own application.
    InboundConnect,
    /// Accepted from the workload's application.
    OutboundAccept {
        /// Original destination.
        target: SocketAddr,
    },
    /// Dialled to a peer.
    OutboundConnect(EndpointLabels<'a>),
}

/// A peer, as outbound metrics name it.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLabels<'a> {
    /// Logical name with its port, if there is one.
    pub authority: Option<&'a str>,
    /// Its address.
    pub target: SocketAddr,
    /// TLS to it.
    pub tls: &'a OutboundTls,
    /// The control plane's labels.
    pub labels: &'a Labels,
}

/// Counters of the connections with one label set. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    telemetry: Telemetry,
    labels: LabelSet,
    opened: Counter,
    open: Gauge,
    read: Counter,
    written: Counter,
    closed: ByKey<&'static str, Counter>,
}

/// An open connection; counted as closed when dropped.
#[derive(Debug)]
pub struct Open {
    transport: Transport,
    errno: &'static str,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counters for these connections.
    #[must_use]
    pub fn transport(&self, labels: TransportLabels<'_>) -> Transport {
        let labels = labels.render();
        Transport(Arc::new(Inner {
            opened: self.counter(&OPEN_TOTAL, labels.clone()),
            open: self.gauge(&OPEN_CONNECTIONS, labels.clone()),
            read: self.counter(&READ_BYTES, labels.clone()),
            written: self.counter(&WRITE_BYTES, labels.clone()),
            closed: ByKey::default(),
            telemetry: self.clone(),
            labels,
        }))
    }

    /// Counts an accepted connection that could not be served. `error` as Linkerd writes it:
    /// `tls detection timeout`, `i/o`, `unauthorized`, `loopback`, `unexpected`, …
    pub fn tcp_error(&self, inbound: bool, target: Option<SocketAddr>, error: &str) {
        let definition = if inbound {
            &ERRORS_INBOUND
        } else {
            &ERRORS_OUTBOUND
        };
        let labels = match target {
            Some(target) => LabelSet::new().target(target),
            None => LabelSet::new(),
        };
        self.counter(definition, labels.with("error", error))
            .increment();
    }

    /// Counts a connection that came with a transport header. The target is of the peer's choice:
    /// as [`Distinct`](super::Distinct) shows it.
    pub fn transport_header(
        &self,
        session_protocol: &str,
        target_port: &str,
        target_name: &str,
        client_id: &str,
    ) {
        let labels = LabelSet::new()
            .with("session_protocol", session_protocol)
            .with("target_port", target_port)
            .with("target_name", target_name)
            .with("client_id", client_id);
        self.counter(&TRANSPORT_HEADERS, labels).increment();
    }

    /// The counter of outbound connections found to be `http/1`, `http/2`, `grpc`, `opaq` or `tls`.
    #[must_use]
    pub fn outbound_protocol(&self, protocol: &str, parent: &Meta) -> Counter {
        let labels = LabelSet::new()
            .with("protocol", protocol)
            .resource("parent", parent);
        self.counter(&PROTOCOLS, labels)
    }

    /// Counters of bytes received from and sent to peers of one zone locality.
    #[must_use]
    pub fn transfer_cost(&self, labels: &Labels) -> (Counter, Counter) {
        let locality = labels
            .get("zone_locality")
            .map_or("unknown", String::as_str);
        let counter = |op: &str| {
            let labels = LabelSet::new()
                .with("op", op)
                .with("zone_locality", locality);
            self.counter(&TRANSFER_COST, labels)
        };
        (counter("recv"), counter("send"))
    }
}

// === impl TransportLabels ===

impl TransportLabels<'_> {
    fn render(self) -> LabelSet {
        let new = |direction: &str, peer: &str| {
            LabelSet::new()
                .with("direction", direction)
                .with("peer", peer)
        };
        match self {
            Self::InboundAccept {
                target,
                tls,
                server,
                server_port,
            } => new("inbound", "src")
                .target(target)
                .inbound_tls(tls)
                .server(server, server_port),
            Self::InboundConnect => {
                new("inbound", "dst").inbound_tls(&InboundTls::None(NoInboundTls::Loopback))
            }
            Self::OutboundAccept { target } => {
                let local = InboundTls::None(NoInboundTls::Loopback);
                new("outbound", "src").target(target).inbound_tls(&local)
            }
            Self::OutboundConnect(endpoint) => endpoint.render(new("outbound", "dst")),
        }
    }
}

// === impl EndpointLabels ===

impl EndpointLabels<'_> {
    pub(super) fn render(self, mut labels: LabelSet) -> LabelSet {
        if let Some(authority) = self.authority {
            labels = labels.with("authority", authority);
        }
        labels
            .target(self.target)
            .outbound_tls(self.tls)
            .dst(self.labels)
    }
}

// === impl Transport ===

impl Transport {
    /// Counts a connection as open.
    #[must_use]
    pub fn open(&self) -> Open {
        self.0.opened.increment();
        self.0.open.add(1);
        Open {
            transport: self.clone(),
            errno: "",
        }
    }
}

// === impl Open ===

impl Open {
    /// Counts bytes from the peer.
    pub fn read(&self, bytes: usize) {
        self.transport.0.read.add(bytes as u64);
    }

    /// Counts bytes to the peer.
    pub fn written(&self, bytes: usize) {
        self.transport.0.written.add(bytes as u64);
    }

    /// Notes why the connection ends; the last one counts.
    pub fn fail(&mut self, error: &std::io::Error) {
        self.errno = error.raw_os_error().map_or("", errno_name);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let inner = &self.transport.0;
        inner.open.add(-1);
        let make = || {
            let labels = inner.labels.clone().with("errno", self.errno);
            inner.telemetry.counter(&CLOSE_TOTAL, labels)
        };
        inner.closed.with(self.errno, make, Counter::increment);
    }
}

fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EACCES => "EACCES",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENOTCONN => "ENOTCONN",
        libc::ENETDOWN => "ENETDOWN",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNRESET => "ECONNRESET",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointLabels, Telemetry, TransportLabels};
    use crate::identity::Id;
    use crate::policy::Meta;
    use crate::tls::{InboundTls, OutboundTls};
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn label_keys_and_their_order_are_linkerds() {
        let telemetry = Telemetry::new(Duration::from_secs(1));
        let id = Id::parse("web.ns.serviceaccount.identity.linkerd.cluster.local").expect("valid");
        let target = "10.0.0.1:8080".parse().expect("valid");
        let tls = InboundTls::Established {
            client_id: Some(id.clone()),
        };
        let server = Meta::Default("all-unauthenticated".into());
        let accept = TransportLabels::InboundAccept {
            target,
            tls: &tls,
            server: &server,
            server_port: 8080,
        };
        let mut open = telemetry.transport(accept).open();
        open.read(7);
        open.fail(&std::io::Error::from_raw_os_error(libc::ECONNRESET));
        drop(open);

        let labels = [("pod", "a"), ("namespace", "ns")];
        let labels = Arc::new(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let tls = OutboundTls::Established { server_id: id };
        let endpoint = EndpointLabels {
            authority: Some("web:80"),
            target,
            tls: &tls,
            labels: &labels,
        };
        let _open = telemetry
            .transport(TransportLabels::OutboundConnect(endpoint))
            .open();

        let mut text = String::new();
        telemetry.encode(&mut text);
        for line in [
            "tcp_close_total{direction=\"inbound\",peer=\"src\",target_addr=\"10.0.0.1:8080\",\
             target_ip=\"10.0.0.1\",target_port=\"8080\",tls=\"true\",\
             client_id=\"web.ns.serviceaccount.identity.linkerd.cluster.local\",srv_group=\"\",\
             srv_kind=\"default\",srv_name=\"all-unauthenticated\",srv_port=\"8080\",\
             errno=\"ECONNRESET\"} 1\n",
            "tcp_open_connections{direction=\"outbound\",peer=\"dst\",authority=\"web:80\",\
             target_addr=\"10.0.0.1:8080\",target_ip=\"10.0.0.1\",target_port=\"8080\",\
             tls=\"true\",server_id=\"web.ns.serviceaccount.identity.linkerd.cluster.local\",\
             dst_namespace=\"ns\",dst_pod=\"a\"} 1\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }
}
