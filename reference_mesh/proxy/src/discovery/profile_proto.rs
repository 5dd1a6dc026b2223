//! Reading profiles.

use std::sync::Arc;
use std::time::Duration;

use linkerd2_proxy_api::destination as pb;

use super::{
    At, Endpoint, Profile, ProfileMatch, ProfileRoute, ResponseClass, ResponseMatch, RetryBudget,
    WeightedTarget,
};
use crate::policy::{Invalid, Meta, proto};

/// Nesting of conditions that is followed; a deeper one is refused before it exhausts the stack.
const MAX_DEPTH: usize = 32;

impl From<pb::DestinationProfile> for Profile {
    /// Parts that cannot be read are left out, with a warning, as linkerd2-proxy does: a broken
    /// route must not cost the others.
    fn from(value: pb::DestinationProfile) -> Self {
        let name = value.fully_qualified_name;
        let at = value.endpoint.map_or(At::Unnamed, |addr| {
            keep(&name, Endpoint::try_from(addr)).map_or(At::Unusable, At::Endpoint)
        });
        let routes = value
            .routes
            .into_iter()
            .filter_map(|value| keep(&name, route(value)));
        let targets = value.dst_overrides.into_iter().filter(|dst| dst.weight > 0);
        Self {
            opaque: value.opaque_protocol,
            routes: routes.collect(),
            retry_budget: value
                .retry_budget
                .and_then(|budget| keep(&name, retry_budget(budget))),
            targets: targets.map(target).collect(),
            at,
            parent: value
                .parent_ref
                .and_then(|meta| Meta::outbound(Some(meta)).ok()),
            fqn: Some(name).filter(|name| !name.is_empty()).map(Arc::from),
        }
    }
}

fn keep<T>(profile: &str, value: Result<T, Invalid>) -> Option<T> {
    value
        .inspect_err(|error| tracing::warn!(profile, %error, "part of a profile ignored"))
        .ok()
}

fn target(value: pb::WeightedDst) -> WeightedTarget {
    WeightedTarget {
        authority: value.authority.into(),
        weight: value.weight,
        backend: value
            .backend_ref
            .and_then(|meta| Meta::outbound(Some(meta)).ok()),
    }
}

fn route(value: pb::Route) -> Result<ProfileRoute, Invalid> {
    let classes: Result<_, Invalid> = value
        .response_classes
        .into_iter()
        .map(|class| {
            let condition = response_match(class.condition, 0)?;
            Ok(ResponseClass {
                condition,
                is_failure: class.is_failure,
            })
        })
        .collect();
    let timeout = value
        .timeout
        .map(|timeout| proto::duration(timeout, "route timeout"))
        .transpose()?;
    Ok(ProfileRoute {
        condition: request_match(value.condition, 0)?,
        response_classes: classes?,
        labels: value.metrics_labels.into_iter().collect(),
        retryable: value.is_retryable,
        timeout: timeout.filter(|timeout| !timeout.is_zero()),
    })
}

fn request_match(value: Option<pb::RequestMatch>, depth: usize) -> Result<ProfileMatch, Invalid> {
    use pb::request_match::Match;
    let deeper = check_depth(depth)?;
    let all = |list: Vec<pb::RequestMatch>| -> Result<Vec<_>, Invalid> {
        list.into_iter()
            .map(|value| request_match(Some(value), deeper))
            .collect()
    };
    let kind = value.and_then(|value| value.r#match);
    Ok(
        match kind.ok_or_else(|| Invalid::new("missing request condition"))? {
            Match::All(list) => ProfileMatch::All(all(list.matches)?),
            Match::Any(list) => ProfileMatch::Any(all(list.matches)?),
            Match::Not(value) => ProfileMatch::Not(Box::new(request_match(Some(*value), deeper)?)),
            Match::Path(path) => ProfileMatch::Path(proto::regex(&path.regex)?),
            Match::Method(method) => ProfileMatch::Method(proto::method(method)?),
        },
    )
}

fn response_match(
    value: Option<pb::ResponseMatch>,
    depth: usize,
) -> Result<ResponseMatch, Invalid> {
    use pb::response_match::Match;
    let deeper = check_depth(depth)?;
    let all = |list: Vec<pb::ResponseMatch>| -> Result<Vec<_>, Invalid> {
        list.into_iter()
            .map(|value| response_match(Some(value), deeper))
            .collect()
    };
    let kind = value.and_then(|value| value.r#match);
    Ok(
        match kind.ok_or_else(|| Invalid::new("missing response condition"))? {
            Match::All(list) => ResponseMatch::All(all(list.matches)?),
            Match::Any(list) => ResponseMatch::Any(all(list.matches)?),
            Match::Not(value) => {
                ResponseMatch::Not(Box::new(response_match(Some(*value), deeper)?))
            }
            Match::Status(range) => {
                // One bound may be left out.
                let (min, max) = match (range.min, range.max) {
                    (min, 0) => (min, min),
                    (0, max) => (max, max),
                    bounds => bounds,
                };
                let bound = |value: u32| {
                    let valid = u16::try_from(value)
                        .ok()
                        .filter(|status| (100..600).contains(status));
                    valid.ok_or_else(|| Invalid::new(format!("invalid response status {value}")))
                };
                ResponseMatch::Status(bound(min)?..=bound(max)?)
            }
        },
    )
}

fn check_depth(depth: usize) -> Result<usize, Invalid> {
    if depth < MAX_DEPTH {
        Ok(depth + 1)
    } else {
        Err(Invalid::new("condition nested too deeply"))
    }
}

fn retry_budget(value: pb::RetryBudget) -> Result<RetryBudget, Invalid> {
    let ttl = value
        .ttl
        .ok_or_else(|| Invalid::new("missing retry budget ttl"))?;
    let ttl = proto::duration(ttl, "retry budget ttl")?;
    let valid_ttl = (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&ttl);
    if !valid_ttl || !(0.0..=1000.0).contains(&value.retry_ratio) {
        return Err(Invalid::new(format!(
            "invalid retry budget: ratio {} (0 to 1000), ttl {ttl:?} (1 s to 60 s)",
            value.retry_ratio
        )));
    }
    Ok(RetryBudget {
        retry_ratio: value.retry_ratio,
        min_retries_per_second: value.min_retries_per_second,
        ttl,
    })
}
