//! Reading outbound policies, as strictly as linkerd2-proxy does.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use linkerd2_proxy_api::{http_route, outbound as pb, tls_route};

use super::Meta;
use super::matching::HostMatch;
use super::outbound::{
    Backend, Backoff, Balance, Dispatcher, Distribution, FailureAccrual, Filter, Http, Load,
    Opaque, Penalty, Policy, Protocol, Queue, Retry, RetryOn, Route, RouteBackend, RoutePolicy,
    Rule, TcpRoute, TcpRouteBackend, Timeouts, Tls,
};
use super::proto::{
    Invalid, duration, each, fail_grpc, fail_http, grpc_match, host, http_match, optional_duration,
    redirect, request_headers, required, response_headers, suffix_match,
};
use crate::discovery::Endpoint;

/// Body bytes kept for a retry when the message says nothing.
const DEFAULT_REPLAY_BYTES: usize = 64 * 1024;
/// Window of the unified breaker when the message says nothing, and its least.
const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
const MIN_WINDOW: Duration = Duration::from_millis(10);
/// Most requests that the unified breaker may ask its window for.
const MAX_MIN_REQUESTS: u32 = 1_000_000;

impl TryFrom<pb::OutboundPolicy> for Policy {
    type Error = Invalid;

    fn try_from(value: pb::OutboundPolicy) -> Result<Self, Invalid> {
        let parent = Meta::outbound(value.metadata)?;
        let kind = value.protocol.and_then(|protocol| protocol.kind);
        let protocol = match required(kind, "protocol")? {
            pb::proxy_protocol::Kind::Detect(detect) => detect_protocol(detect)?,
            pb::proxy_protocol::Kind::Http1(value) => {
                Protocol::Http1(http(value.routes, value.failure_accrual)?)
            }
            pb::proxy_protocol::Kind::Http2(value) => {
                Protocol::Http2(http(value.routes, value.failure_accrual)?)
            }
            pb::proxy_protocol::Kind::Grpc(value) => {
                let routes = each(value.routes, grpc_route)?.into();
                Protocol::Grpc(Http {
                    routes,
                    accrual: accrual(value.failure_accrual)?,
                })
            }
            pb::proxy_protocol::Kind::Opaque(value) => Protocol::Opaque(opaque(value)?),
            pb::proxy_protocol::Kind::Tls(value) => Protocol::Tls(Tls {
                routes: each(value.routes, tls_route)?.into(),
            }),
        };
        Ok(Self { parent, protocol })
    }
}

fn detect_protocol(value: pb::proxy_protocol::Detect) -> Result<Protocol, Invalid> {
    let http1 = required(value.http1, "HTTP/1 configuration")?;
    let http2 = required(value.http2, "HTTP/2 configuration")?;
    let timeout = required(value.timeout, "protocol detection timeout")?;
    Ok(Protocol::Detect {
        timeout: duration(timeout, "protocol detection timeout")?,
        http1: http(http1.routes, http1.failure_accrual)?,
        http2: http(http2.routes, http2.failure_accrual)?,
        opaque: opaque(required(value.opaque, "opaque configuration")?)?,
    })
}

fn http(routes: Vec<pb::HttpRoute>, failures: Option<pb::FailureAccrual>) -> Result<Http, Invalid> {
    Ok(Http {
        routes: each(routes, http_route)?.into(),
        accrual: accrual(failures)?,
    })
}

fn http_route(route: pb::HttpRoute) -> Result<Route, Invalid> {
    let meta = Meta::outbound(route.metadata)?;
    let rules = each(route.rules, |rule| {
        let policy = RoutePolicy {
            meta: meta.clone(),
            filters: each(rule.filters, http_filter)?,
            backends: http_backends(rule.backends)?,
            timeouts: timeouts(rule.timeouts)?,
            retry: rule.retry.map(http_retry).transpose()?,
            allow_l5d_headers: rule.allow_l5d_request_headers,
        };
        Ok(Rule {
            matches: each(rule.matches, http_match)?,
            policy: Arc::new(policy),
        })
    })?;
    Ok(Route {
        hosts: each(route.hosts, host)?,
        rules,
    })
}

fn grpc_route(route: pb::GrpcRoute) -> Result<Route, Invalid> {
    let meta = Meta::outbound(route.metadata)?;
    let rules = each(route.rules, |rule| {
        let policy = RoutePolicy {
            meta: meta.clone(),
            filters: each(rule.filters, grpc_filter)?,
            backends: grpc_backends(rule.backends)?,
            timeouts: timeouts(rule.timeouts)?,
            retry: rule.retry.map(grpc_retry).transpose()?,
            allow_l5d_headers: rule.allow_l5d_request_headers,
        };
        Ok(Rule {
            matches: each(rule.matches, grpc_match)?,
            policy: Arc::new(policy),
        })
    })?;
    Ok(Route {
        hosts: each(route.hosts, host)?,
        rules,
    })
}

fn http_filter(filter: pb::http_route::Filter) -> Result<Filter, Invalid> {
    use pb::http_route::filter::Kind;
    match filter.kind {
        None => Ok(Filter::Unknown),
        Some(Kind::FailureInjector(value)) => fail_http(value),
        Some(Kind::RequestHeaderModifier(value)) => request_headers(value),
        Some(Kind::ResponseHeaderModifier(value)) => response_headers(value),
        Some(Kind::Redirect(value)) => redirect(value),
    }
}

fn grpc_filter(filter: pb::grpc_route::Filter) -> Result<Filter, Invalid> {
    use pb::grpc_route::filter::Kind;
    match filter.kind {
        None => Ok(Filter::Unknown),
        Some(Kind::FailureInjector(value)) => fail_grpc(value),
        Some(Kind::RequestHeaderModifier(value)) => request_headers(value),
    }
}

/// The messages of the four kinds of route differ in type, not in shape.
macro_rules! distribution {
    ($name:ident, $module:ident, $backend:ident, $output:ty) => {
        fn $name(
            value: Option<pb::$module::Distribution>,
        ) -> Result<Distribution<$output>, Invalid> {
            use pb::$module::distribution::Kind;
            let kind = value.and_then(|value| value.kind);
            match required(kind, "backend distribution")? {
                Kind::Empty(_) => Ok(Distribution::Empty),
                Kind::FirstAvailable(value) => {
                    let backends = each(value.backends, $backend)?;
                    non_empty(backends).map(|list| Distribution::FirstAvailable(list.into()))
                }
                Kind::RandomAvailable(value) => {
                    let backends = each(value.backends, |weighted| {
                        let backend = required(weighted.backend, "weighted backend")?;
                        Ok(($backend(backend)?, weighted.weight))
                    })?;
                    non_empty(backends).map(|list| Distribution::RandomAvailable(list.into()))
                }
            }
        }
    };
}

distribution!(http_backends, http_route, http_backend, RouteBackend);
distribution!(grpc_backends, grpc_route, grpc_backend, RouteBackend);
distribution!(
    opaque_backends,
    opaque_route,
    opaque_backend,
    TcpRouteBackend
);
distribution!(tls_backends, tls_route, tls_backend, TcpRouteBackend);

fn non_empty<T>(list: Vec<T>) -> Result<Vec<T>, Invalid> {
    if list.is_empty() {
        Err(Invalid::new("empty backend distribution"))
    } else {
        Ok(list)
    }
}

fn http_backend(value: pb::http_route::RouteBackend) -> Result<RouteBackend, Invalid> {
    let filters = each(value.filters, http_filter)?;
    Ok(RouteBackend {
        backend: backend(value.backend)?,
        filters,
    })
}

fn grpc_backend(value: pb::grpc_route::RouteBackend) -> Result<RouteBackend, Invalid> {
    let filters = each(value.filters, grpc_filter)?;
    Ok(RouteBackend {
        backend: backend(value.backend)?,
        filters,
    })
}

fn opaque_backend(value: pb::opaque_route::RouteBackend) -> Result<TcpRouteBackend, Invalid> {
    let refuse = value.filters.into_iter().find_map(opaque_refusal);
    Ok(TcpRouteBackend {
        backend: backend(value.backend)?,
        refuse,
    })
}

fn tls_backend(value: pb::tls_route::RouteBackend) -> Result<TcpRouteBackend, Invalid> {
    let refuse = value.filters.into_iter().find_map(tls_refusal);
    Ok(TcpRouteBackend {
        backend: backend(value.backend)?,
        refuse,
    })
}

fn opaque(value: pb::proxy_protocol::Opaque) -> Result<Opaque, Invalid> {
    let routes = each(value.routes, |route| {
        let meta = Meta::outbound(route.metadata)?;
        let rule = required(route.rules.into_iter().next(), "opaque route rule")?;
        Ok(TcpRoute {
            meta,
            snis: Vec::new(),
            backends: opaque_backends(rule.backends)?,
            refuse: rule.filters.into_iter().find_map(opaque_refusal),
        })
    })?;
    Ok(Opaque {
        routes: routes.into(),
    })
}

fn tls_route(route: pb::TlsRoute) -> Result<TcpRoute, Invalid> {
    let meta = Meta::outbound(route.metadata)?;
    let rule = required(route.rules.into_iter().next(), "TLS route rule")?;
    Ok(TcpRoute {
        meta,
        snis: each(route.snis, sni)?,
        backends: tls_backends(rule.backends)?,
        refuse: rule.filters.into_iter().find_map(tls_refusal),
    })
}

fn sni(value: tls_route::SniMatch) -> Result<HostMatch, Invalid> {
    match required(value.r#match, "SNI match")? {
        tls_route::sni_match::Match::Exact(name) => {
            Ok(HostMatch::Exact(name.to_ascii_lowercase().into()))
        }
        tls_route::sni_match::Match::Suffix(suffix) => Ok(suffix_match(suffix.reverse_labels)),
    }
}

fn opaque_refusal(filter: pb::opaque_route::Filter) -> Option<Arc<str>> {
    use pb::opaque_route::filter::Kind;
    Some(match filter.kind {
        Some(Kind::Invalid(invalid)) => invalid.message.into(),
        Some(Kind::Forbidden(_)) => "forbidden".into(),
        None => "unknown filter".into(),
    })
}

fn tls_refusal(filter: pb::tls_route::Filter) -> Option<Arc<str>> {
    use pb::tls_route::filter::Kind;
    Some(match filter.kind {
        Some(Kind::Invalid(invalid)) => invalid.message.into(),
        Some(Kind::Forbidden(_)) => "forbidden".into(),
        None => "unknown filter".into(),
    })
}

fn backend(value: Option<pb::Backend>) -> Result<Arc<Backend>, Invalid> {
    use pb::backend::Kind;
    let value = required(value, "backend")?;
    let meta = Meta::outbound(value.metadata)?;
    let queue = required(value.queue, "queue")?;
    let failfast_timeout = required(queue.failfast_timeout, "queue fail-fast timeout")?;
    let queue = Queue {
        capacity: usize::try_from(queue.capacity).unwrap_or(usize::MAX),
        failfast_timeout: duration(failfast_timeout, "queue fail-fast timeout")?,
    };
    let dispatcher = match value.kind {
        None => Dispatcher::Fail("backend has no kind".into()),
        Some(Kind::Forward(addr)) => Dispatcher::Forward(Endpoint::try_from(addr)?),
        Some(Kind::Balancer(balance)) => Dispatcher::Balance(balancer(balance)?),
    };
    Ok(Arc::new(Backend {
        meta,
        queue,
        dispatcher,
    }))
}

fn balancer(value: pb::backend::BalanceP2c) -> Result<Balance, Invalid> {
    use pb::backend::balance_p2c::Load as Kind;
    use pb::backend::endpoint_discovery::Kind as Discovery;
    let discovery = value.discovery.and_then(|discovery| discovery.kind);
    let Discovery::Dst(dst) = required(discovery, "balancer discovery")?;
    let load = match required(value.load, "balancer load")? {
        Kind::PeakEwma(ewma) => Load {
            default_rtt: duration(required(ewma.default_rtt, "default RTT")?, "default RTT")?,
            decay: duration(required(ewma.decay, "EWMA decay")?, "EWMA decay")?,
            penalty: None,
        },
        Kind::PenaltyPeakEwma(ewma) => {
            let or = |value, default, what| {
                optional_duration(value, what).map(|value| value.unwrap_or(default))
            };
            Load {
                default_rtt: or(ewma.default_rtt, Duration::from_millis(30), "default RTT")?,
                decay: or(ewma.decay, Duration::from_secs(10), "EWMA decay")?,
                penalty: Some(Penalty {
                    penalty: or(ewma.penalty, Duration::from_secs(5), "penalty")?,
                    max_retry_after: or(
                        ewma.max_retry_after,
                        Duration::from_secs(10),
                        "longest Retry-After",
                    )?,
                    decay: or(
                        ewma.penalty_decay,
                        Duration::from_secs(300),
                        "penalty decay",
                    )?,
                }),
            }
        }
    };
    Ok(Balance {
        path: dst.path.into(),
        load,
    })
}

fn timeouts(value: Option<http_route::Timeouts>) -> Result<Timeouts, Invalid> {
    let value = value.unwrap_or_default();
    Ok(Timeouts {
        request: optional_duration(value.request, "request timeout")?,
        response: optional_duration(value.response, "response timeout")?,
        idle: optional_duration(value.idle, "idle timeout")?,
    })
}

fn http_retry(value: pb::http_route::Retry) -> Result<Retry, Invalid> {
    let conditions = required(value.conditions, "retry conditions")?;
    let statuses = each(conditions.status_ranges, |range| {
        status_range(range.start, range.end)
    })?;
    retry(
        value.max_retries,
        value.max_request_bytes,
        RetryOn::Statuses(statuses),
        value.timeout,
        value.backoff,
    )
}

fn grpc_retry(value: pb::grpc_route::Retry) -> Result<Retry, Invalid> {
    let conditions = required(value.conditions, "retry conditions")?;
    let codes = [
        (conditions.cancelled, 1),
        (conditions.deadine_exceeded, 4),
        (conditions.resource_exhausted, 8),
        (conditions.internal, 13),
        (conditions.unavailable, 14),
    ];
    let codes = codes
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |bits, (_, code)| bits | 1 << code);
    retry(
        value.max_retries,
        value.max_request_bytes,
        RetryOn::GrpcCodes(codes),
        value.timeout,
        value.backoff,
    )
}

fn status_range(start: u32, end: u32) -> Result<RangeInclusive<u16>, Invalid> {
    let bound = |value: u32| {
        let valid = u16::try_from(value)
            .ok()
            .filter(|status| (1..600).contains(status));
        valid.ok_or_else(|| Invalid::new(format!("invalid retry status {value}")))
    };
    Ok(bound(start)?..=bound(end)?)
}

fn retry(
    max_retries: u32,
    max_request_bytes: u32,
    on: RetryOn,
    timeout: Option<prost_types::Duration>,
    pauses: Option<pb::ExponentialBackoff>,
) -> Result<Retry, Invalid> {
    let max_request_bytes = usize::try_from(max_request_bytes).unwrap_or(usize::MAX);
    Ok(Retry {
        max_retries: u16::try_from(max_retries)
            .map_err(|_| Invalid::new(format!("too many retries: {max_retries}")))?,
        max_request_bytes: Some(max_request_bytes)
            .filter(|bytes| *bytes > 0)
            .unwrap_or(DEFAULT_REPLAY_BYTES),
        on,
        timeout: optional_duration(timeout, "retry timeout")?,
        backoff: pauses.map(backoff).transpose()?,
    })
}

fn backoff(value: pb::ExponentialBackoff) -> Result<Backoff, Invalid> {
    let min = required(value.min_backoff, "minimum back-off")?;
    let max = required(value.max_backoff, "maximum back-off")?;
    let backoff = Backoff {
        min: duration(min, "minimum back-off")?,
        max: duration(max, "maximum back-off")?,
        jitter_ratio: value.jitter_ratio,
    };
    let valid_jitter = (0.0..=100.0).contains(&backoff.jitter_ratio);
    if backoff.min > backoff.max || backoff.max.is_zero() || !valid_jitter {
        return Err(Invalid::new(format!("invalid back-off: {backoff:?}")));
    }
    Ok(backoff)
}

fn accrual(value: Option<pb::FailureAccrual>) -> Result<FailureAccrual, Invalid> {
    use pb::failure_accrual::Kind;
    match value.map(|value| value.kind) {
        None => Ok(FailureAccrual::None),
        Some(None) => Err(Invalid::missing("failure accrual kind")),
        Some(Some(Kind::ConsecutiveFailures(value))) => Ok(FailureAccrual::Consecutive {
            max_failures: usize::try_from(value.max_failures).unwrap_or(usize::MAX),
            backoff: backoff(required(value.backoff, "failure accrual back-off")?)?,
        }),
        Some(Some(Kind::Unified(value))) => {
            let threshold = value.success_rate_threshold;
            if !(0.0..=1.0).contains(&threshold) {
                return Err(Invalid::new(format!(
                    "invalid success rate threshold {threshold}"
                )));
            }
            let window = optional_duration(value.decay, "success rate window")?;
            let window = window.unwrap_or(DEFAULT_WINDOW);
            if threshold > 0.0 && window < MIN_WINDOW {
                return Err(Invalid::new(format!(
                    "success rate window {window:?} is too short"
                )));
            }
            if value.min_requests > MAX_MIN_REQUESTS {
                return Err(Invalid::new(format!(
                    "too many requests: {}",
                    value.min_requests
                )));
            }
            Ok(FailureAccrual::Unified {
                success_rate_threshold: threshold,
                window,
                min_requests: value.min_requests,
                max_consecutive: usize::try_from(value.max_consecutive_failures)
                    .unwrap_or(usize::MAX),
                backoff: backoff(required(value.backoff, "failure accrual back-off")?)?,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::policy::outbound::{Dispatcher, Distribution, Protocol, RetryOn};
    use linkerd2_proxy_api::meta::{Metadata, metadata};
    use linkerd2_proxy_api::outbound as pb;
    use std::time::Duration;

    fn meta(name: &str) -> Option<Metadata> {
        Some(Metadata {
            kind: Some(metadata::Kind::Default(name.to_owned())),
        })
    }

    fn secs(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn backend() -> pb::Backend {
        use pb::Queue;
        use pb::backend::{BalanceP2c, EndpointDiscovery, Kind, balance_p2c};
        let ewma = balance_p2c::PeakEwma {
            default_rtt: secs(1),
            decay: secs(10),
        };
        let discovery = pb::backend::endpoint_discovery::Kind::Dst(
            pb::backend::endpoint_discovery::DestinationGet {
                path: "web.ns:80".to_owned(),
            },
        );
        let balance = BalanceP2c {
            discovery: Some(EndpointDiscovery {
                kind: Some(discovery),
            }),
            load: Some(balance_p2c::Load::PeakEwma(ewma)),
        };
        pb::Backend {
            metadata: meta("backend"),
            queue: Some(Queue {
                capacity: 100,
                failfast_timeout: secs(3),
            }),
            kind: Some(Kind::Balancer(balance)),
        }
    }

    fn http_route(backend: pb::Backend) -> pb::HttpRoute {
        use pb::http_route::{Distribution, RouteBackend, Rule, distribution};
        let backends = vec![RouteBackend {
            backend: Some(backend),
            ..Default::default()
        }];
        let first = distribution::Kind::FirstAvailable(distribution::FirstAvailable { backends });
        let rule = Rule {
            backends: Some(Distribution { kind: Some(first) }),
            ..Default::default()
        };
        pb::HttpRoute {
            metadata: meta("route"),
            hosts: Vec::new(),
            rules: vec![rule],
        }
    }

    fn opaque_route(backend: pb::Backend) -> pb::OpaqueRoute {
        use pb::opaque_route::{Distribution, RouteBackend, Rule, distribution};
        let backends = vec![RouteBackend {
            backend: Some(backend),
            filters: Vec::new(),
        }];
        let first = distribution::Kind::FirstAvailable(distribution::FirstAvailable { backends });
        let backends = Some(Distribution { kind: Some(first) });
        let rules = vec![Rule {
            backends,
            filters: Vec::new(),
        }];
        pb::OpaqueRoute {
            metadata: meta("route"),
            rules,
        }
    }

    fn detect() -> pb::proxy_protocol::Detect {
        use pb::proxy_protocol::{Detect, Http1, Http2, Opaque};
        Detect {
            timeout: secs(10),
            opaque: Some(Opaque {
                routes: vec![opaque_route(backend())],
            }),
            http1: Some(Http1 {
                routes: vec![http_route(backend())],
                failure_accrual: None,
            }),
            http2: Some(Http2 {
                routes: vec![http_route(backend())],
                failure_accrual: None,
            }),
        }
    }

    fn policy(detect: pb::proxy_protocol::Detect) -> pb::OutboundPolicy {
        let kind = Some(pb::proxy_protocol::Kind::Detect(detect));
        pb::OutboundPolicy {
            protocol: Some(pb::ProxyProtocol { kind }),
            metadata: meta("parent"),
        }
    }

    /// The error when the one HTTP/1 route has been changed so.
    fn refusal(change: impl FnOnce(&mut pb::HttpRoute)) -> String {
        let mut detect = detect();
        let http1 = detect.http1.as_mut().expect("set");
        change(&mut http1.routes[0]);
        Policy::try_from(policy(detect))
            .expect_err("refused")
            .to_string()
    }

    /// The error when that route's one backend has been changed so.
    fn backend_refusal(change: impl FnOnce(&mut pb::Backend)) -> String {
        let mut backend = backend();
        change(&mut backend);
        refusal(|route| *route = http_route(backend))
    }

    #[test]
    fn a_whole_policy_is_read() {
        let policy = Policy::try_from(policy(detect())).expect("valid");
        let Protocol::Detect { timeout, http1, .. } = policy.protocol else {
            panic!("{policy:?}");
        };
        assert_eq!(timeout, Duration::from_secs(10));
        let Distribution::FirstAvailable(backends) = &http1.routes[0].rules[0].policy.backends
        else {
            panic!("{http1:?}");
        };
        let Dispatcher::Balance(balance) = &backends[0].backend.dispatcher else {
            panic!("{backends:?}");
        };
        assert_eq!(&*balance.path, "web.ns:80");
    }

    #[test]
    fn what_linkerd_refuses_is_refused() {
        let missing = |change: fn(&mut pb::proxy_protocol::Detect)| {
            let mut detect = detect();
            change(&mut detect);
            Policy::try_from(policy(detect))
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            missing(|detect| detect.opaque = None),
            "missing opaque configuration"
        );
        assert_eq!(
            missing(|detect| detect.http2 = None),
            "missing HTTP/2 configuration"
        );
        assert_eq!(
            missing(|detect| detect.timeout = None),
            "missing protocol detection timeout"
        );
        assert_eq!(
            backend_refusal(|backend| backend.queue = None),
            "missing queue"
        );
        assert_eq!(
            backend_refusal(|backend| backend.queue.as_mut().expect("set").failfast_timeout = None),
            "missing queue fail-fast timeout"
        );
        assert_eq!(
            backend_refusal(|backend| backend.metadata = None),
            "missing metadata"
        );
        assert_eq!(refusal(|route| route.metadata = None), "missing metadata");
        assert_eq!(
            refusal(|route| route.rules[0].backends = None),
            "missing backend distribution"
        );
        let unnamed = metadata::Kind::Resource(Default::default());
        assert_eq!(
            refusal(|route| route.metadata = Some(Metadata {
                kind: Some(unnamed)
            })),
            "missing resource group"
        );
    }

    #[test]
    fn a_backend_without_a_kind_fails_its_requests_only() {
        let mut detect = detect();
        let backend = pb::Backend {
            kind: None,
            ..backend()
        };
        detect.http1.as_mut().expect("set").routes[0] = http_route(backend);
        assert!(Policy::try_from(policy(detect)).is_ok());
    }

    #[test]
    fn retries_are_bounded() {
        use pb::http_route::Retry;
        use pb::http_route::retry::{Conditions, conditions::StatusRange};
        let retry = |conditions, max_retries| Retry {
            conditions,
            max_retries,
            ..Retry::default()
        };
        let range = |start, end| {
            Some(Conditions {
                status_ranges: vec![StatusRange { start, end }],
            })
        };
        let error = refusal(|route| route.rules[0].retry = Some(retry(None, 1)));
        assert_eq!(error, "missing retry conditions");
        let error = refusal(|route| route.rules[0].retry = Some(retry(range(500, 600), 1)));
        assert_eq!(error, "invalid retry status 600");
        let error = refusal(|route| route.rules[0].retry = Some(retry(range(500, 599), 70_000)));
        assert_eq!(error, "too many retries: 70000");
        let read = super::http_retry(retry(range(500, 599), 2)).expect("valid");
        assert_eq!(read.on, RetryOn::Statuses(vec![500..=599]));
        assert!(read.on.status(503) && !read.on.status(429));
        assert_eq!(read.max_request_bytes, 64 * 1024);
    }
}
