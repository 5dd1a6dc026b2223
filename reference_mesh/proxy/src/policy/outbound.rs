//! Policy for traffic that leaves the pod: routes, backends, timeouts, retries, breakers.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::Meta;
use super::matching::{self, HostMatch, Request, RequestMatch};
use crate::discovery::Endpoint;

/// The policy of one outbound target.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The resource that was looked up; the `parent_*` labels.
    pub parent: Arc<Meta>,
    /// What to do with a connection.
    pub protocol: Protocol,
}

/// How a connection is to be read, and the routes of each way to read it.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// Look at the first bytes.
    Detect {
        /// How long to wait for them before the connection is opaque.
        timeout: Duration,
        /// Routes when HTTP/1 is found.
        http1: Http,
        /// Routes when HTTP/2 is found.
        http2: Http,
        /// Routes otherwise.
        opaque: Opaque,
    },
    /// HTTP/1 without detection.
    Http1(Http),
    /// HTTP/2 without detection.
    Http2(Http),
    /// gRPC without detection.
    Grpc(Http),
    /// Bytes, without detection.
    Opaque(Opaque),
    /// TLS that is routed by SNI and not terminated.
    Tls(Tls),
    /// The control plane's message broke the rules, or refused the target for good. Requests get a
    /// 500 with `Client policy misconfigured: {message}`; opaque connections are closed.
    Invalid(Arc<str>),
}

/// HTTP or gRPC routes.
#[derive(Clone, Debug)]
pub struct Http {
    /// Routes, in the control plane's order.
    pub routes: Arc<[Route]>,
    /// Breaker of each endpoint.
    pub accrual: FailureAccrual,
}

/// Opaque routes: at most the first is used.
#[derive(Clone, Debug)]
pub struct Opaque {
    /// Routes, in the control plane's order.
    pub routes: Arc<[TcpRoute]>,
}

/// Routes by SNI.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Routes, in the control plane's order.
    pub routes: Arc<[TcpRoute]>,
}

/// One HTTPRoute or GRPCRoute.
#[derive(Clone, Debug)]
pub struct Route {
    /// Hosts; none matches all.
    pub hosts: Vec<HostMatch>,
    /// Rules.
    pub rules: Vec<Rule>,
}

/// One rule of a route.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Alternatives; none matches all.
    pub matches: Vec<RequestMatch>,
    /// What happens to requests that match. Shared, and stable between updates of other rules, so
    /// its address can key per-route state.
    pub policy: Arc<RoutePolicy>,
}

/// What happens to the requests of one rule.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// The route's resource; the `route_*` labels.
    pub meta: Arc<Meta>,
    /// Filters, in order.
    pub filters: Vec<Filter>,
    /// Where requests go.
    pub backends: Distribution<RouteBackend>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// When a request is tried again.
    pub retry: Option<Retry>,
    /// Whether `l5d-retry-*` and `l5d-*timeout` request headers override the above.
    pub allow_l5d_headers: bool,
}

/// An opaque or TLS route.
#[derive(Clone, Debug)]
pub struct TcpRoute {
    /// The route's resource.
    pub meta: Arc<Meta>,
    /// SNI conditions (TLS only); none matches all.
    pub snis: Vec<HostMatch>,
    /// Where connections go.
    pub backends: Distribution<TcpRouteBackend>,
    /// Set when the route refuses its connections, with the reason.
    pub refuse: Option<Arc<str>>,
}

/// A choice among backends.
#[derive(Clone, Debug)]
pub enum Distribution<T> {
    /// None: requests fail.
    Empty,
    /// The first one that is ready.
    FirstAvailable(Arc<[T]>),
    /// A weighted choice among those that are ready.
    RandomAvailable(Arc<[(T, u32)]>),
}

/// A backend of an HTTP or gRPC rule.
#[derive(Clone, Debug)]
pub struct RouteBackend {
    /// Where to.
    pub backend: Arc<Backend>,
    /// Filters after the rule's.
    pub filters: Vec<Filter>,
}

/// A backend of an opaque or TLS route.
#[derive(Clone, Debug)]
pub struct TcpRouteBackend {
    /// Where to.
    pub backend: Arc<Backend>,
    /// Set when the backend refuses its connections, with the reason.
    pub refuse: Option<Arc<str>>,
}

/// A place to send requests to.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The backend's resource; the `backend_*` labels.
    pub meta: Arc<Meta>,
    /// Requests that wait for an endpoint.
    pub queue: Queue,
    /// How an endpoint is found.
    pub dispatcher: Dispatcher,
}

/// Limits of the requests that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests.
    pub capacity: usize,
    /// How long none may be ready before requests fail at once.
    pub failfast_timeout: Duration,
}

/// How an endpoint is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Dispatcher {
    /// This endpoint.
    Forward(Endpoint),
    /// One of the endpoints that `Destination.Get` reports.
    Balance(Balance),
    /// None: the control plane gave no kind. HTTP 502.
    Fail(Arc<str>),
}

/// Balancing over discovered endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// What to ask `Destination.Get` for.
    pub path: Arc<str>,
    /// How load is judged.
    pub load: Load,
}

/// Peak EWMA, with a penalty when the control plane asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Latency assumed of an endpoint that was not measured yet.
    pub default_rtt: Duration,
    /// Time constant of the average.
    pub decay: Duration,
    /// Load added to endpoints that ask to be spared.
    pub penalty: Option<Penalty>,
}

/// Bias for endpoints that answered 429, 503 with `Retry-After`, or `RESOURCE_EXHAUSTED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// When the answer names no time.
    pub penalty: Duration,
    /// Cap of a time that the answer names.
    pub max_retry_after: Duration,
    /// Time constant of forgetting.
    pub decay: Duration,
}

/// Time limits of a request; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of the request to the end of the stream.
    pub request: Option<Duration>,
    /// From the whole request (or the response's head) to the end of the response.
    pub response: Option<Duration>,
    /// Without data in either direction.
    pub idle: Option<Duration>,
}

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts after the first.
    pub max_retries: u16,
    /// Bodies larger than this are not kept, so not retried.
    pub max_request_bytes: usize,
    /// What counts as a failure.
    pub on: RetryOn,
    /// Limit of one attempt until its response's head; none on the last.
    pub timeout: Option<Duration>,
    /// Pause between attempts.
    pub backoff: Option<Backoff>,
}

/// Responses that are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// HTTP status ranges.
    Statuses(Vec<RangeInclusive<u16>>),
    /// gRPC codes, bit n for code n.
    GrpcCodes(u32),
}

/// Exponential back-off: doubled at each step, plus jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// First pause.
    pub min: Duration,
    /// Longest pause, before jitter.
    pub max: Duration,
    /// Share of the pause that is added at random, 0..=100.
    pub jitter_ratio: f32,
}

/// Breaker of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FailureAccrual {
    /// No breaker.
    #[default]
    None,
    /// Shut after failures in a row.
    Consecutive {
        /// How many.
        max_failures: usize,
        /// How long until one probe.
        backoff: Backoff,
    },
    /// Shut after failures in a row or a low success rate.
    Unified {
        /// Share of successes below which it shuts, 0..=1.
        success_rate_threshold: f64,
        /// Length of the window.
        window: Duration,
        /// Requests that the window needs before the rate counts.
        min_requests: u32,
        /// Failures in a row; 0 turns this signal off.
        max_consecutive: usize,
        /// How long until one probe.
        backoff: Backoff,
    },
}

/// What is done to a request or its response.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Answer in the backend's place.
    FailHttp {
        /// Status of the answer.
        status: StatusCode,
        /// Its `l5d-proxy-error`.
        message: Arc<str>,
        /// Share of requests.
        ratio: Ratio,
    },
    /// Answer with gRPC trailers in the backend's place.
    FailGrpc {
        /// `grpc-status`.
        code: u16,
        /// `grpc-message`.
        message: Arc<str>,
        /// Share of requests.
        ratio: Ratio,
    },
    /// Change the request's headers.
    RequestHeaders(HeaderChanges),
    /// Change the response's headers.
    ResponseHeaders(HeaderChanges),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// The control plane sent a filter that this proxy does not know: requests fail with a 500.
    Unknown,
}

/// A share of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// How many …
    pub numerator: u32,
    /// … of how many. Never zero.
    pub denominator: u32,
}

/// Changes to a header map: first `set`, then `add`, then `remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Appended.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Replaced.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

/// A redirect; what is not named stays as the request had it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// Host without port.
    pub host: Option<Arc<str>>,
    /// Port.
    pub port: Option<u16>,
    /// Path.
    pub path: Option<RedirectPath>,
    /// Status; 301 when the control plane names none.
    pub status: StatusCode,
}

/// The path of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// The whole path.
    Full(Arc<str>),
    /// In place of the prefix that matched.
    Prefix(Arc<str>),
}

impl Policy {
    /// Sends everything to one place; used where the control plane has no policy for a target.
    #[must_use]
    pub fn single(
        dispatcher: Dispatcher,
        opaque: bool,
        detect_timeout: Duration,
        queue: Queue,
    ) -> Self {
        let meta = Meta::default_named("fallback");
        let backend = Arc::new(Backend {
            meta: meta.clone(),
            queue,
            dispatcher,
        });
        let opaque_routes = Opaque {
            routes: Arc::new([TcpRoute {
                meta: meta.clone(),
                snis: Vec::new(),
                backends: Distribution::FirstAvailable(Arc::new([TcpRouteBackend {
                    backend: backend.clone(),
                    refuse: None,
                }])),
                refuse: None,
            }]),
        };
        let protocol = if opaque {
            Protocol::Opaque(opaque_routes)
        } else {
            let http = Http::single(meta.clone(), backend);
            Protocol::Detect {
                timeout: detect_timeout,
                http1: http.clone(),
                http2: http,
                opaque: opaque_routes,
            }
        };
        Self {
            parent: meta,
            protocol,
        }
    }

    /// A policy that refuses all traffic to its target, and says why.
    #[must_use]
    pub fn invalid(message: impl Into<Arc<str>>) -> Self {
        Self {
            parent: Meta::default_named("invalid"),
            protocol: Protocol::Invalid(message.into()),
        }
    }
}

impl Load {
    /// That of Linkerd, where the control plane names none.
    pub const DEFAULT: Self = Self {
        default_rtt: Duration::from_millis(30),
        decay: Duration::from_secs(10),
        penalty: None,
    };
}

impl Http {
    /// One route for all requests, to one backend, without limits or retries.
    #[must_use]
    pub fn single(meta: Arc<Meta>, backend: Arc<Backend>) -> Self {
        let policy = Arc::new(RoutePolicy {
            meta,
            filters: Vec::new(),
            backends: Distribution::FirstAvailable(Arc::new([RouteBackend {
                backend,
                filters: Vec::new(),
            }])),
            timeouts: Timeouts::default(),
            retry: None,
            allow_l5d_headers: false,
        });
        let rule = Rule {
            matches: Vec::new(),
            policy,
        };
        Self {
            routes: Arc::new([Route {
                hosts: Vec::new(),
                rules: vec![rule],
            }]),
            accrual: FailureAccrual::None,
        }
    }
}

/// A route's rule that took a request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What happens to the request.
    pub policy: &'a Arc<RoutePolicy>,
    /// Bytes of the path that matched, for [`RedirectPath::Prefix`].
    pub path_len: usize,
}

impl Http {
    /// The rule that matches best; none is a 404.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let candidates = self.routes.iter().filter_map(|route| {
            let host = matching::best_host(&route.hosts, request.host)?;
            let rules = route.rules.iter().filter_map(|rule| {
                Some((
                    matching::best_match(&rule.matches, host, request)?,
                    &rule.policy,
                ))
            });
            matching::first_best(rules)
        });
        let (specificity, policy) = matching::first_best(candidates)?;
        Some(Found {
            policy,
            path_len: specificity.path_len(),
        })
    }
}

impl Tls {
    /// Place in [`Self::routes`] of the one whose SNI condition matches best.
    #[must_use]
    pub fn find(&self, sni: &str) -> Option<usize> {
        let mut best: Option<(matching::HostSpecificity, usize)> = None;
        for (place, route) in self.routes.iter().enumerate() {
            if let Some(specificity) = matching::best_host(&route.snis, Some(sni))
                && best.is_none_or(|(found, _)| specificity > found)
            {
                best = Some((specificity, place));
            }
        }
        best.map(|(_, place)| place)
    }
}

impl RetryOn {
    /// Whether this HTTP status is tried again.
    #[must_use]
    pub fn status(&self, status: u16) -> bool {
        matches!(self, Self::Statuses(ranges) if ranges.iter().any(|range| range.contains(&status)))
    }

    /// Whether this gRPC code is tried again.
    #[must_use]
    pub fn grpc_code(&self, code: u16) -> bool {
        matches!(self, Self::GrpcCodes(bits) if code < 32 && bits & (1 << code) != 0)
    }
}
