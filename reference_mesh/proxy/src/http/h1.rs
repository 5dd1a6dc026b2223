//! HTTP/1, strictly: a codec of our own on top of `httparse`.
//!
//! Why not a library's: a proxy must not read a request otherwise than the application behind it.
//! What leaves here was parsed whole and is written anew from the parsed form, so the two sides
//! cannot disagree about where a message ends; what could be read in two ways (two lengths, a bare
//! LF, an unknown transfer coding) is refused and the connection closed. It also costs an idle
//! connection no buffers, and a request no task and no channel.
//!
//! One `Conn` serves both roles. Bodies share it with the task that writes on it (both run on the
//! data thread), and borrow it only while they are polled.

mod arrival;
mod client;
mod conn;
mod decode;
mod encode;
mod head;
mod incoming;
mod pool;
mod server;

pub use self::client::{Client, SendError};
pub use self::head::{Refusal, is_upgrade, judge_carried};
pub use self::incoming::Incoming;
pub use self::pool::Pool;
pub use self::server::{Closed, serve};
