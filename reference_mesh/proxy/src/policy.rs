//! What the control plane wants done with traffic: plain, validated data and pure evaluation.
//!
//! Nothing here opens a socket or waits. `discovery` turns protobuf messages into these types; the
//! data path reads them. A message that breaks the rules becomes a policy that says so
//! (`Protocol::Invalid`), so that each request gets a clear 500 instead of a guess.

pub mod inbound;
mod inbound_proto;
pub mod matching;
pub mod meta;
pub mod outbound;
mod outbound_proto;
pub(crate) mod proto;
mod unenforced;

pub use self::meta::Meta;
pub use self::proto::Invalid;
pub use self::unenforced::unenforced;
