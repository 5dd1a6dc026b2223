//! The four look-ups, each as a task that follows one stream.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use linkerd2_proxy_api::destination::update::Update as Change;
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, Update};
use linkerd2_proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use linkerd2_proxy_api::inbound::{PortSpec, Server};
use linkerd2_proxy_api::outbound::outbound_policies_client::OutboundPoliciesClient;
use linkerd2_proxy_api::outbound::traffic_spec::Target as TrafficTarget;
use linkerd2_proxy_api::outbound::{OutboundPolicy, TrafficSpec};
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::Code;

use super::endpoint_proto::{address, endpoint};
use super::follow::{Follower, is_final};
use super::watches::Feed;
use super::{Endpoint, EndpointsState, Profile, Settings};
use crate::control::Client;
use crate::mutants::{self, Mutant};
use crate::policy::inbound::ServerPolicy;
use crate::policy::outbound::Policy;
use crate::policy::{Meta, unenforced};

/// How long a target without policy waits for its profile, which may name an endpoint.
const FALLBACK_PROFILE_LIMIT: Duration = Duration::from_secs(1);
/// Parents of whose policies is remembered what was told. There are more only by churn.
const MAX_TOLD: usize = 1000;
/// Largest message that is taken. A service with thousands of endpoints is a few MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// What a look-up needs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) destination: Client,
    pub(super) policy: Client,
    pub(super) settings: Arc<Settings>,
    pub(super) told: Arc<Told>,
}

/// Which parents were told of, and of what. Watches come and go, the log is to say it once.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<(Arc<Meta>, BTreeSet<&'static str>)>>);

// === impl Lookup ===

impl Lookup {
    /// Follows the policy of an outbound address.
    pub(super) async fn outbound(self, addr: SocketAddr, feed: Feed<Arc<Policy>>) {
        let client = OutboundPoliciesClient::new(self.policy.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let open = || {
            let mut client = client.clone();
            let spec = TrafficSpec {
                source_workload: self.settings.workload.clone(),
                target: Some(TrafficTarget::Addr(addr.into())),
            };
            async move { client.watch(spec).await }
        };
        let message = |policy: OutboundPolicy, _| {
            let policy = Policy::try_from(policy).unwrap_or_else(|error| {
                tracing::warn!(%addr, %error, "Client policy misconfigured");
                Policy::invalid(error.to_string())
            });
            if let Some(parts) = self.told.news_of(&policy) {
                let (kind, name) = (policy.parent.kind(), policy.parent.name());
                let namespace = policy.parent.namespace();
                tracing::warn!(%addr, kind, namespace, name, "Not enforced by this version: {parts}");
            }
            feed.set(Arc::new(policy));
        };
        let mut follower = Follower::new(&self.policy, self.settings.streams);
        loop {
            let status = follower.run(&feed, open, message).await;
            tracing::debug!(%addr, %status, "outbound policy watch failed");
            match status.code() {
                Code::NotFound | Code::Unimplemented => {
                    feed.set(Arc::new(self.fallback(addr).await));
                }
                _ if is_final(&status) => {
                    return feed.set(Arc::new(Policy::invalid(status.message())));
                }
                _ => {}
            }
            follower.pause_after(&status).await;
        }
    }

    /// A policy for a target of which the policy controller knows nothing.
    async fn fallback(&self, addr: SocketAddr) -> Policy {
        let Settings {
            detect_timeout,
            queue,
            ..
        } = *self.settings;
        let mut client = DestinationClient::new(self.destination.clone());
        let first = async {
            let request = self.destination_request(&addr.to_string());
            client
                .get_profile(request)
                .await?
                .into_inner()
                .message()
                .await
        };
        let profile = match timeout(FALLBACK_PROFILE_LIMIT, first).await {
            Ok(Ok(Some(profile))) => profile,
            _ => DestinationProfile::default(),
        };
        let names_endpoint = profile.endpoint.is_some();
        let profile = Profile::from(profile);
        if names_endpoint && profile.endpoint.is_none() {
            // It may be meshed, and then gets no plain text.
            return Policy::invalid(format!(
                "the endpoint that the profile of {addr} names cannot be used"
            ));
        }
        let endpoint = profile.endpoint.unwrap_or_else(|| Endpoint::plain(addr));
        Policy::forward(endpoint, profile.opaque, detect_timeout, queue)
    }

    /// Follows the profile of a target (`host:port`). Any failure is "no profile".
    pub(super) async fn profile(self, target: Arc<str>, feed: Feed<Arc<Profile>>) {
        let client = self.destination_client();
        let open = || {
            let mut client = client.clone();
            let request = self.destination_request(&target);
            async move { client.get_profile(request).await }
        };
        let message = |profile, _| feed.set(Arc::new(Profile::from(profile)));
        let mut follower = Follower::new(&self.destination, self.settings.streams);
        loop {
            let status = follower.run(&feed, open, message).await;
            tracing::debug!(%target, %status, "profile watch failed");
            feed.settle();
            if is_final(&status) {
                return;
            }
            follower.pause_after(&status).await;
        }
    }

    /// Follows the endpoints of a destination (`host:port`).
    pub(super) async fn endpoints(self, path: Arc<str>, feed: Feed<EndpointsState>) {
        let client = self.destination_client();
        let open = || {
            let mut client = client.clone();
            let request = self.destination_request(&path);
            async move { client.get(request).await }
        };
        let mut known = BTreeMap::new();
        let mut message = |update: Update, first| {
            if let Some(state) = apply(&path, &mut known, update, first) {
                feed.set(state);
            }
        };
        let mut follower = Follower::new(&self.destination, self.settings.streams);
        loop {
            let status = follower.run(&feed, open, &mut message).await;
            tracing::debug!(%path, %status, "endpoint watch failed");
            if is_final(&status) {
                return feed.set(EndpointsState::Rejected);
            }
            if mutants::active(Mutant::ForgetsEndpoints) {
                feed.set(EndpointsState::Empty { exists: false });
            }
            follower.pause_after(&status).await;
        }
    }

    /// Follows the policy of an inbound port.
    pub(super) async fn inbound(self, port: u16, feed: Feed<Arc<ServerPolicy>>) {
        let client = InboundServerPoliciesClient::new(self.policy.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let open = || {
            let mut client = client.clone();
            let workload = self.settings.workload.clone();
            let spec = PortSpec {
                workload,
                port: port.into(),
            };
            async move { client.watch_port(spec).await }
        };
        let message = |server: Server, _| {
            let policy = ServerPolicy::try_from(server).unwrap_or_else(|error| {
                tracing::warn!(port, %error, "Server policy misconfigured");
                ServerPolicy::invalid(error.to_string())
            });
            feed.set(Arc::new(policy));
        };
        let mut follower = Follower::new(&self.policy, self.settings.streams);
        loop {
            let status = follower.run(&feed, open, message).await;
            tracing::warn!(port, %status, "inbound policy watch failed; the last policy holds");
            // Even an answer that looks final is asked for again: this decides who gets in.
            follower.pause_after(&status).await;
        }
    }

    fn destination_client(&self) -> DestinationClient<Client> {
        DestinationClient::new(self.destination.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn destination_request(&self, path: &str) -> GetDestination {
        GetDestination {
            scheme: String::new(),
            path: path.to_owned(),
            context_token: self.settings.context_token.clone(),
        }
    }
}

// === impl Told ===

impl Told {
    /// What of `policy` is not enforced, if that was not told of its parent yet.
    fn news_of(&self, policy: &Policy) -> Option<String> {
        let parts = unenforced(policy);
        if parts.is_empty() {
            return None;
        }
        let mut told = self.0.lock();
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        let is_new = told.insert((Arc::clone(&policy.parent), parts.clone()));
        is_new.then(|| Vec::from_iter(parts).join(", "))
    }
}

/// Changes the set as the update says; none when the update says nothing.
///
/// The first update of a stream replaces the set: what was known of an earlier stream is stale, and
/// is kept only until the control plane speaks again.
fn apply(
    path: &str,
    known: &mut BTreeMap<SocketAddr, Endpoint>,
    update: Update,
    first: bool,
) -> Option<EndpointsState> {
    let change = update.update?;
    if first {
        known.clear();
    }
    match change {
        Change::Add(set) => {
            for value in set.addrs {
                let addr = value.addr.and_then(|addr| address(addr).ok());
                // What was known of it before holds no more.
                addr.map(|addr| known.remove(&addr));
                match endpoint(value, &set.metric_labels) {
                    Ok(endpoint) => drop(known.insert(endpoint.addr, endpoint)),
                    Err(error) => tracing::warn!(path, ?addr, %error, "endpoint ignored"),
                }
            }
        }
        Change::Remove(set) => {
            for addr in set.addrs {
                if let Ok(addr) = address(addr) {
                    known.remove(&addr);
                }
            }
        }
        Change::NoEndpoints(none) => {
            known.clear();
            return Some(EndpointsState::Empty {
                exists: none.exists,
            });
        }
    }
    Some(if known.is_empty() {
        EndpointsState::Empty { exists: true }
    } else {
        EndpointsState::Known(Arc::new(known.clone()))
    })
}

#[cfg(test)]
mod tests;
