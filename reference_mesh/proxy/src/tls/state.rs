//! What is known of a connection's TLS, for policy and for labels.

use std::sync::Arc;

use crate::identity::Id;
use crate::policy::inbound::ClientTls;

/// Whom to expect at the other end of an outbound connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// One of its certificate's SANs must be this.
    pub id: Id,
    /// The SNI to send. A DNS name without a trailing dot.
    pub server_name: Arc<str>,
}

/// TLS of an accepted connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InboundTls {
    /// Terminated here.
    Established {
        /// The first qualifying SAN of the client's certificate, if it showed one.
        client_id: Option<Id>,
    },
    /// TLS for another name, passed through.
    Opaque {
        /// Its SNI.
        sni: Arc<str>,
    },
    /// No mesh TLS.
    None(NoInboundTls),
}

/// Why an accepted connection has no mesh TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoInboundTls {
    /// It comes from this pod.
    Loopback,
    /// The port is opaque: TLS is not looked for.
    PortSkipped,
    /// The client sent something else.
    NoTlsFromRemote,
}

/// TLS of a dialled connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutboundTls {
    /// To a peer with this identity.
    Established {
        /// The identity that was asked for and proved.
        server_id: Id,
    },
    /// No mesh TLS.
    None(NoOutboundTls),
}

/// Why a dialled connection has no mesh TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoOutboundTls {
    /// To this pod or, for the control plane, to this host.
    Loopback,
    /// Discovery gave no identity.
    NotProvidedByServiceDiscovery,
    /// An ingress request that names no service.
    IngressWithoutOverride,
}

// === impl InboundTls ===

impl InboundTls {
    /// The client's identity, if it proved one.
    #[must_use]
    pub fn client_id(&self) -> Option<&Id> {
        match self {
            Self::Established { client_id } => client_id.as_ref(),
            Self::Opaque { .. } | Self::None(_) => None,
        }
    }

    /// The connection as inbound policy sees it.
    #[must_use]
    pub fn for_policy(&self) -> ClientTls<'_> {
        match self {
            Self::Established { client_id } => ClientTls::Established(client_id.as_ref()),
            Self::Opaque { .. } | Self::None(_) => ClientTls::None,
        }
    }
}

// === impl NoInboundTls ===

impl NoInboundTls {
    /// The `no_tls_reason` label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::PortSkipped => "port_skipped",
            Self::NoTlsFromRemote => "no_tls_from_remote",
        }
    }
}

// === impl NoOutboundTls ===

impl NoOutboundTls {
    /// The `no_tls_reason` label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::NotProvidedByServiceDiscovery => "not_provided_by_service_discovery",
            Self::IngressWithoutOverride => "ingress_without_override",
        }
    }
}
