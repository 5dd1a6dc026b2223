//! Who this proxy is, and how it stays that: names, the certificate's life, the call that renews it.

mod certify;
mod id;

pub use self::certify::{Settings, run};
pub use self::id::{Id, InvalidId};
