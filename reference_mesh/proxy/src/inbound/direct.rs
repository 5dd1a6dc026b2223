//! Connections to the proxy's own port, from peers' proxies.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::time::timeout;

use super::{Announced, Inbound, Session, established};
use crate::detect::{self, Http, Tls};
use crate::tls::TRANSPORT_HEADER_ALPN;
use crate::transport::Io;
use crate::transport::header::{Header, Kind};
use crate::transport::listen::Accepted;

impl Inbound {
    /// Serves a peer: mesh TLS for this workload, with an identity, then a transport header.
    pub(super) async fn direct(self: Rc<Self>, accepted: Accepted) -> io::Result<()> {
        let Accepted {
            tcp,
            client,
            original_dst,
            ..
        } = accepted;
        let limit = self.config.inbound.direction.detect_timeout;
        let (hello, tcp) = detect::tls(tcp, limit).await?;
        match hello {
            Tls::Hello(Some(name)) if self.is_own_name(&name) => {}
            Tls::TimedOut => {
                return self.refuse(original_dst, "tls detection timeout", "no bytes");
            }
            Tls::Hello(_) | Tls::None | Tls::Closed => {
                let reason = "only mesh TLS for this workload is served on the proxy's port";
                return self.refuse(original_dst, "unexpected", reason);
            }
        }
        let stream = self.accept_tls(tcp, original_dst, true).await?;
        let tls = established(&stream);
        let Some(client_id) = tls.client_id() else {
            return self.refuse(original_dst, "unauthorized", "client without an identity");
        };
        if stream.get_ref().1.alpn_protocol() != Some(TRANSPORT_HEADER_ALPN) {
            return self.refuse(
                original_dst,
                "unexpected",
                "client sends no transport header",
            );
        }
        let mut io = Io::server(stream);
        let (header, rest) = match timeout(limit, Header::read(&mut io)).await {
            Ok(read) => read?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let port = u16::try_from(header.port).unwrap_or(0);
        let (label, announced) = match header.kind() {
            None => ("", Announced::Opaque),
            Some(Kind::Http1(_)) => ("http/1", Announced::Http(Http::Http1)),
            Some(Kind::Http2(_)) => ("http/2", Announced::Http(Http::Http2)),
        };
        self.telemetry.transport_header(
            label,
            self.common.header_ports.shown(&port.to_string()),
            self.common.header_names.shown(&header.name),
            client_id.as_str(),
        );
        if !header.name.is_empty() {
            return self.refuse(original_dst, "unexpected", "this proxy is no gateway");
        }
        if port == 0 || port == self.config.inbound.listen.port() {
            return self.refuse(original_dst, "loop", "header names the proxy's own port");
        }
        let session = Session {
            client,
            target: SocketAddr::new(original_dst.ip(), port),
            tls,
            policy: RefCell::new(self.policy_of(port).await?),
        };
        self.serve_session(io.with_prefix(rest.freeze()), session, announced)
            .await
    }
}
