//! Mesh TLS: TLS 1.3 between workloads, both sides verified against the mesh's trust anchors.
//!
//! [`Credentials`] holds what a handshake needs and is swapped whole when a certificate arrives, so
//! a handshake always sees a matching key, chain and verifier. Established connections keep what
//! they were made with. Session resumption is off on both sides: a ticket would outlive the
//! certificate, and the anchor, that it was issued under.

mod client_hello;
mod credentials;
mod names;
mod provider;
mod state;
#[cfg(test)]
pub(crate) mod test_pki;
#[cfg(test)]
mod tests;
mod verify;

pub use self::client_hello::{ClientHello, MAX_CLIENT_HELLO_BYTES, peek};
pub use self::credentials::{ClientAlpn, Credentials, Error, LocalName, TRANSPORT_HEADER_ALPN};
pub use self::names::peer_id;
pub use self::provider::{describe as describe_provider, provider};
pub use self::state::{InboundTls, NoInboundTls, NoOutboundTls, OutboundTls, ServerTls};
