//! Placing requests on endpoints: two at random, the less loaded of them (P2C over peak EWMA).
//!
//! Load is the latency of an endpoint times its requests under way. A slower answer counts at once
//! and a faster one by and by, so an endpoint that turns slow is left at its first slow answer and
//! is tried again later. One that joins others is taken to be as fast as they are in the middle: with
//! Linkerd's fixed 30 ms it would get nothing from answers of 1 ms until 30 ms had faded, which takes
//! half a minute. An endpoint that could not be reached is not picked until it was; the
//! request that found out goes to another one, and the attempts go on beside the requests.

mod ewma;
mod p2c;

pub use self::ewma::{Load, Pending, latency_of_newcomer};
pub use self::p2c::pick;
