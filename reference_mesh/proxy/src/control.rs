//! Calls to the control plane: one client per component, over one HTTP/2 connection per replica.
//!
//! A loopback address is dialled in plain text (the control plane's own pods, tests); any other by
//! mesh TLS, with the component's name as identity and SNI. Host names are resolved by SRV records or
//! addresses, and again when the answer expires; calls spread over the replicas (`replicas`). All
//! calls that need a connection wait for the same attempt: a control plane that comes back is not met
//! by one handshake per watch.

mod backoff;
mod client;
mod connect;
mod counted;
mod dns;
mod replicas;

pub use self::backoff::Backoff;
pub use self::client::{CallError, Client};
pub use self::connect::ConnectError;
pub use self::counted::CountedBody;
pub use self::dns::{ResolveError, Resolved, Resolver};
