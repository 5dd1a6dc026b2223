//! ServiceProfiles: Linkerd's older routing dialect.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::Endpoint;
use crate::policy::Meta;

/// What `GetProfile` says of a target. The default is what is known before it said anything.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Name of the service, without a port.
    pub fqn: Option<Arc<str>>,
    /// Whether detection is to be skipped.
    pub opaque: bool,
    /// Routes; the first that matches wins.
    pub routes: Arc<[ProfileRoute]>,
    /// Limit of retries; none allows none.
    pub retry_budget: Option<RetryBudget>,
    /// Other services to send to, by weight.
    pub targets: Arc<[WeightedTarget]>,
    /// Who is at the target, where that is an address.
    pub at: At,
    /// The resource behind the profile.
    pub parent: Option<Arc<Meta>>,
}

/// Who is at an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum At {
    /// Nothing was said yet.
    #[default]
    Untold,
    /// Nobody that the control plane knows, or a service.
    Unnamed,
    /// One endpoint: a pod.
    Endpoint(Endpoint),
    /// One that this proxy cannot reach as the control plane wants it reached. It may be meshed, so it
    /// gets no plain text.
    Unusable,
}

/// A route of a profile.
#[derive(Clone, Debug)]
pub struct ProfileRoute {
    /// Which requests.
    pub condition: ProfileMatch,
    /// How responses are judged; the first that matches decides.
    pub response_classes: Vec<ResponseClass>,
    /// Labels (`rt_*`).
    pub labels: BTreeMap<String, String>,
    /// Whether failures may be tried again.
    pub retryable: bool,
    /// Limit of the whole request.
    pub timeout: Option<Duration>,
}

/// Condition on a request.
#[derive(Clone, Debug)]
pub enum ProfileMatch {
    /// Each holds.
    All(Vec<ProfileMatch>),
    /// One holds.
    Any(Vec<ProfileMatch>),
    /// It does not hold.
    Not(Box<ProfileMatch>),
    /// The whole path matches.
    Path(regex::Regex),
    /// The method is this.
    Method(Method),
}

/// A judgement of responses.
#[derive(Clone, Debug)]
pub struct ResponseClass {
    /// Which responses.
    pub condition: ResponseMatch,
    /// Whether they are failures.
    pub is_failure: bool,
}

/// Condition on a response.
#[derive(Clone, Debug)]
pub enum ResponseMatch {
    /// Each holds.
    All(Vec<ResponseMatch>),
    /// One holds.
    Any(Vec<ResponseMatch>),
    /// It does not hold.
    Not(Box<ResponseMatch>),
    /// The status is in this range.
    Status(RangeInclusive<u16>),
}

/// How many retries the profile may spend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries per request.
    pub retry_ratio: f32,
    /// Retries per second that are always allowed.
    pub min_retries_per_second: u32,
    /// How long a request counts.
    pub ttl: Duration,
}

/// A service that a profile sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedTarget {
    /// `host:port`, to ask `Destination.Get` for.
    pub authority: Arc<str>,
    /// Its share, relative to the others; never zero.
    pub weight: u32,
    /// The resource behind it.
    pub backend: Option<Arc<Meta>>,
}
