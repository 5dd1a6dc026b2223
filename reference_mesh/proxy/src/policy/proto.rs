//! Reading the parts that inbound and outbound policies have in common.
//!
//! As strict as linkerd2-proxy: what it refuses is refused here, with the same consequence, so that
//! a control plane that works with one works with the other.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use linkerd2_proxy_api::{grpc_route, http_route, http_types, meta};
use thiserror::Error;

use super::Meta;
use super::matching::{HostMatch, PathMatch, RequestMatch, ValueMatch};
use super::outbound::{Filter, HeaderChanges, Ratio, Redirect, RedirectPath};

/// Largest compiled regular expression, in bytes: a policy must not be able to eat the memory.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// A message that breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(String);

// === impl Invalid ===

impl Invalid {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    pub(super) fn missing(what: &str) -> Self {
        Self(format!("missing {what}"))
    }
}

/// The value, or the error that names it.
pub(super) fn required<T>(value: Option<T>, what: &str) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::missing(what))
}

/// A duration, which must not be negative.
pub(crate) fn duration(value: prost_types::Duration, what: &str) -> Result<Duration, Invalid> {
    Duration::try_from(value).map_err(|_| Invalid(format!("invalid {what}: not a duration")))
}

pub(super) fn optional_duration(
    value: Option<prost_types::Duration>,
    what: &str,
) -> Result<Option<Duration>, Invalid> {
    value.map(|value| duration(value, what)).transpose()
}

/// A port, 1..=65535.
pub(super) fn port(value: u32) -> Option<u16> {
    u16::try_from(value).ok().filter(|port| *port != 0)
}

/// A list, each converted.
pub(super) fn each<T, U>(
    list: Vec<T>,
    convert: impl Fn(T) -> Result<U, Invalid>,
) -> Result<Vec<U>, Invalid> {
    list.into_iter().map(convert).collect()
}

impl Meta {
    /// Reads an outbound resource, which must have a namespace.
    ///
    /// # Errors
    /// [`Invalid`] when there is none, or group, kind, name or namespace is empty.
    pub fn outbound(metadata: Option<meta::Metadata>) -> Result<Arc<Self>, Invalid> {
        let meta = Self::inbound(metadata)?;
        if let Self::Default(_) = &*meta {
            return Ok(meta);
        }
        for (value, what) in [
            (meta.group(), "resource group"),
            (meta.kind(), "resource kind"),
            (meta.name(), "resource name"),
            (meta.namespace(), "resource namespace"),
        ] {
            if value.is_empty() {
                return Err(Invalid::missing(what));
            }
        }
        Ok(meta)
    }

    /// Reads an inbound resource; its namespace is this workload's. What is empty is an empty label: a
    /// name is no reason to refuse a port.
    ///
    /// # Errors
    /// [`Invalid`] when there is none.
    pub fn inbound(metadata: Option<meta::Metadata>) -> Result<Arc<Self>, Invalid> {
        let kind = metadata.and_then(|metadata| metadata.kind);
        let resource = match required(kind, "metadata")? {
            meta::metadata::Kind::Default(name) => return Ok(Arc::new(Self::Default(name.into()))),
            meta::metadata::Kind::Resource(resource) => resource,
        };
        Ok(Arc::new(Self::Resource {
            group: resource.group.into(),
            kind: resource.kind.into(),
            name: resource.name.into(),
            namespace: resource.namespace.into(),
            section: resource.section.into(),
            port: port(resource.port),
        }))
    }
}

pub(super) fn host(host: http_route::HostMatch) -> Result<HostMatch, Invalid> {
    match required(host.r#match, "host match")? {
        http_route::host_match::Match::Exact(name) => {
            Ok(HostMatch::Exact(name.to_ascii_lowercase().into()))
        }
        http_route::host_match::Match::Suffix(suffix) => Ok(suffix_match(suffix.reverse_labels)),
    }
}

pub(super) fn suffix_match(reverse_labels: Vec<String>) -> HostMatch {
    let labels = reverse_labels
        .into_iter()
        .map(|label| label.to_ascii_lowercase().into());
    HostMatch::Suffix(labels.collect())
}

pub(super) fn http_match(value: http_route::HttpRouteMatch) -> Result<RequestMatch, Invalid> {
    let path = value
        .path
        .map(|path| path_match(required(path.kind, "path match")?))
        .transpose()?;
    let method = value.method.map(method).transpose()?;
    Ok(RequestMatch {
        path,
        headers: each(value.headers, header_match)?,
        query: each(value.query_params, query_match)?,
        method,
    })
}

pub(super) fn grpc_match(value: grpc_route::GrpcRouteMatch) -> Result<RequestMatch, Invalid> {
    let rpc = value.rpc.unwrap_or_default();
    Ok(RequestMatch {
        path: Some(PathMatch::Rpc {
            service: rpc.service.into(),
            method: rpc.method.into(),
        }),
        headers: each(value.headers, header_match)?,
        query: Vec::new(),
        method: None,
    })
}

fn path_match(kind: http_route::path_match::Kind) -> Result<PathMatch, Invalid> {
    use http_route::path_match::Kind;
    match kind {
        Kind::Exact(path) if path.starts_with('/') => Ok(PathMatch::Exact(path.into())),
        Kind::Prefix(path) if path.starts_with('/') => Ok(PathMatch::Prefix(path.into())),
        Kind::Exact(path) | Kind::Prefix(path) => Err(Invalid(format!(
            "invalid path match: {path:?} does not start with '/'"
        ))),
        Kind::Regex(pattern) => regex(&pattern).map(PathMatch::Regex),
    }
}

fn header_match(value: http_route::HeaderMatch) -> Result<(HeaderName, ValueMatch), Invalid> {
    use http_route::header_match::Value;
    let name = header_name(&value.name)?;
    let value = match required(value.value, "header match")? {
        Value::Exact(bytes) => ValueMatch::Exact(bytes.into()),
        Value::Regex(pattern) => ValueMatch::Regex(regex(&pattern)?),
    };
    Ok((name, value))
}

fn query_match(value: http_route::QueryParamMatch) -> Result<(Arc<str>, ValueMatch), Invalid> {
    use http_route::query_param_match::Value;
    if value.name.is_empty() {
        return Err(Invalid::missing("query parameter name"));
    }
    let wanted = match required(value.value, "query parameter match")? {
        Value::Exact(text) => ValueMatch::Exact(text.into_bytes().into()),
        Value::Regex(pattern) => ValueMatch::Regex(regex(&pattern)?),
    };
    Ok((value.name.into(), wanted))
}

pub(crate) fn method(value: http_types::HttpMethod) -> Result<Method, Invalid> {
    Method::try_from(value).map_err(|error| Invalid(error.to_string()))
}

/// A regular expression that has to match the whole text.
pub(crate) fn regex(pattern: &str) -> Result<regex::Regex, Invalid> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| Invalid(format!("invalid regular expression {pattern:?}: {error}")))
}

fn header_name(name: &str) -> Result<HeaderName, Invalid> {
    name.parse()
        .map_err(|_| Invalid(format!("invalid header name {name:?}")))
}

pub(super) fn fail_http(value: http_route::HttpFailureInjector) -> Result<Filter, Invalid> {
    let status = u16::try_from(value.status)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    Ok(Filter::FailHttp {
        status: status
            .ok_or_else(|| Invalid(format!("invalid failure status {}", value.status)))?,
        message: value.message.into(),
        ratio: ratio(value.ratio)?,
    })
}

pub(super) fn fail_grpc(value: grpc_route::GrpcFailureInjector) -> Result<Filter, Invalid> {
    let code = u16::try_from(value.code);
    Ok(Filter::FailGrpc {
        code: code.map_err(|_| Invalid(format!("invalid failure code {}", value.code)))?,
        message: value.message.into(),
        ratio: ratio(value.ratio)?,
    })
}

fn ratio(value: Option<http_route::Ratio>) -> Result<Ratio, Invalid> {
    let Some(http_route::Ratio {
        numerator,
        denominator,
    }) = value
    else {
        return Ok(Ratio {
            numerator: 1,
            denominator: 1,
        });
    };
    if denominator == 0 {
        return Err(Invalid::new("invalid failure ratio: zero denominator"));
    }
    Ok(Ratio {
        numerator,
        denominator,
    })
}

pub(super) fn request_headers(value: http_route::RequestHeaderModifier) -> Result<Filter, Invalid> {
    header_changes(value.add, value.set, &value.remove).map(Filter::RequestHeaders)
}

pub(super) fn response_headers(
    value: http_route::ResponseHeaderModifier,
) -> Result<Filter, Invalid> {
    header_changes(value.add, value.set, &value.remove).map(Filter::ResponseHeaders)
}

fn header_changes(
    add: Option<http_types::Headers>,
    set: Option<http_types::Headers>,
    remove: &[String],
) -> Result<HeaderChanges, Invalid> {
    let pairs = |headers: Option<http_types::Headers>| {
        each(headers.unwrap_or_default().headers, |header| {
            let value = HeaderValue::from_bytes(&header.value);
            let value =
                value.map_err(|_| Invalid(format!("invalid value of header {:?}", header.name)))?;
            Ok((header_name(&header.name)?, value))
        })
    };
    let remove: Result<_, _> = remove.iter().map(|name| header_name(name)).collect();
    Ok(HeaderChanges {
        add: pairs(add)?,
        set: pairs(set)?,
        remove: remove?,
    })
}

pub(super) fn redirect(value: http_route::RequestRedirect) -> Result<Filter, Invalid> {
    use http_route::path_modifier::Replace;
    let scheme = value
        .scheme
        .map(|scheme| http::uri::Scheme::try_from(scheme).map_err(|e| Invalid(e.to_string())))
        .transpose()?;
    let path = match value.path.and_then(|path| path.replace) {
        None => None,
        Some(Replace::Full(path)) if !path.starts_with('/') => {
            let reason = format!("invalid redirect: {path:?} does not start with '/'");
            return Err(Invalid(reason));
        }
        Some(Replace::Full(path)) => Some(RedirectPath::Full(path.into())),
        Some(Replace::Prefix(path)) => Some(RedirectPath::Prefix(path.into())),
    };
    let status = match value.status {
        0 => StatusCode::MOVED_PERMANENTLY,
        code => u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| Invalid(format!("invalid redirect status {code}")))?,
    };
    Ok(Filter::Redirect(Redirect {
        scheme: scheme.map(|scheme| scheme.as_str().into()),
        host: Some(value.host)
            .filter(|host| !host.is_empty())
            .map(Into::into),
        port: port(value.port),
        path,
        status,
    }))
}
