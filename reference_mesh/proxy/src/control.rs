//! Calls to the control plane: one HTTP/2 connection per component, made when needed and made again
//! when lost.
//!
//! A loopback address is dialled in plain text (the control plane's own pods, tests); any other by
//! mesh TLS, with the component's name as identity and SNI. Host names are resolved at each attempt
//! and the addresses tried in a random order, so that proxies spread over the replicas and follow
//! them when they move. All calls that need a connection wait for the same attempt: a control plane
//! that comes back is not met by one handshake per watch.

mod backoff;
mod client;
mod connect;
mod counted;
mod dns;

pub use self::backoff::Backoff;
pub use self::client::{CallError, Client};
pub use self::connect::ConnectError;
pub use self::counted::CountedBody;
pub use self::dns::{ResolveError, Resolver};
