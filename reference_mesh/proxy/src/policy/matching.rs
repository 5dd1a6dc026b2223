//! Request matching shared by inbound and outbound routes.
//!
//! The best match wins, not the first: host specificity, then the length of the matched path, then
//! the number of headers, query parameters and a method. Among equals the first in the list wins,
//! which is why the control plane sorts routes by age and name.

use http::{HeaderName, Method};
use std::sync::Arc;

/// Condition on the host of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// This name, compared without case.
    Exact(Arc<str>),
    /// Any name below these labels, last label first (`*.a.b` is `[b, a]`).
    Suffix(Arc<[Arc<str>]>),
}

/// Condition on the path of a request.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole leading segments.
    Prefix(Arc<str>),
    /// A regular expression that must match the whole path.
    Regex(regex::Regex),
    /// A gRPC service and method; an empty one matches any.
    Rpc {
        /// Full service name.
        service: Arc<str>,
        /// Method name.
        method: Arc<str>,
    },
}

/// Condition on a header or query value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// These bytes.
    Exact(Arc<[u8]>),
    /// A regular expression that must match the whole value.
    Regex(regex::Regex),
}

/// All conditions of one match; each must hold.
#[derive(Clone, Debug, Default)]
pub struct RequestMatch {
    /// Path; none matches all.
    pub path: Option<PathMatch>,
    /// Headers, each by one of its values.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// Query parameters.
    pub query: Vec<(Arc<str>, ValueMatch)>,
    /// Method; none matches all.
    pub method: Option<Method>,
}

/// How specific a match was; greater is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    host: (bool, usize),
    path_len: usize,
    headers: usize,
    query: usize,
    method: bool,
}
