//! The four look-ups, each as a task that follows one stream.

mod outbound;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use linkerd2_proxy_api::destination::update::Update as Change;
use linkerd2_proxy_api::destination::{GetDestination, Update};
use linkerd2_proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use linkerd2_proxy_api::inbound::{PortSpec, Server};
use parking_lot::Mutex;
use tonic::Code;

use super::endpoint_proto::{address, endpoint};
use super::follow::{Follower, is_final, is_refusal};
use super::watches::Feed;
use super::{At, Endpoint, EndpointsState, Profile, Settings};
use crate::control::Client;
use crate::mutants::{self, Mutant};
use crate::policy::inbound::ServerPolicy;
use crate::policy::outbound::Policy;
use crate::policy::unenforced;

/// Parents and targets of which is remembered what was told. There are more only by churn.
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

/// Which parents and targets were told of, and of what. Watches come and go, the log is to say it once.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<(String, BTreeSet<&'static str>)>>);

// === impl Lookup ===

impl Lookup {
    /// Follows the profile of a target (`host:port`).
    pub(super) async fn profile(self, target: Arc<str>, feed: Feed<Arc<Profile>>) {
        let client = self.destination_client();
        let open = || {
            let mut client = client.clone();
            let request = self.destination_request(&target);
            async move { client.get_profile(request).await }
        };
        let message = |profile, _| {
            let profile = Profile::from(profile);
            if let Some(parts) = self.told.news_of_profile(&target, &profile) {
                tracing::warn!(%target, "Not enforced by this version, of the ServiceProfile: {parts}");
            }
            feed.set(Arc::new(profile));
        };
        let mut follower = Follower::new(&self.destination, self.settings.streams);
        loop {
            let status = follower.run(&feed, open, message).await;
            tracing::debug!(%target, %status, "profile watch failed");
            if is_final(&status) && !feed.has_learned() {
                let nobody = Profile {
                    at: At::Unnamed,
                    ..Profile::default()
                };
                feed.set(Arc::new(nobody));
            }
            if is_refusal(&status) {
                feed.settle();
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
        let (mut known, mut is_stale) = (BTreeMap::new(), false);
        let mut message = |update: Update, first| {
            is_stale |= first;
            if let Some(state) = apply(&path, &mut known, &mut is_stale, update) {
                feed.set(state);
            }
        };
        let mut follower = Follower::new(&self.destination, self.settings.streams);
        loop {
            let status = follower.run(&feed, open, &mut message).await;
            tracing::debug!(%path, %status, "endpoint watch failed");
            if is_final(&status) && !feed.has_learned() {
                // No service has that name. Where its traffic would go otherwise is not known either.
                feed.set(EndpointsState::Empty { exists: false });
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
            if status.code() == Code::Unimplemented {
                // It is no controller of inbound policy, and the default one is all there will be.
                feed.settle();
            }
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
        let parent = &policy.parent;
        let of = [parent.kind(), parent.namespace(), parent.name()].join("/");
        self.news(of, unenforced(policy))
    }

    /// What of the profile of `target` is not enforced, if that was not told yet.
    fn news_of_profile(&self, target: &str, profile: &Profile) -> Option<String> {
        // A budget comes with every profile, and means nothing without routes.
        let parts = [
            (!profile.routes.is_empty(), "routes"),
            (!profile.targets.is_empty(), "destination overrides"),
        ];
        let set = parts.into_iter().filter(|(is_set, _)| *is_set);
        self.news(target.to_owned(), set.map(|(_, part)| part).collect())
    }

    fn news(&self, of: String, parts: BTreeSet<&'static str>) -> Option<String> {
        if parts.is_empty() {
            return None;
        }
        let mut told = self.0.lock();
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        let is_new = told.insert((of, parts.clone()));
        is_new.then(|| Vec::from_iter(parts).join(", "))
    }
}

/// Changes the set as the update says; none when the update says nothing.
///
/// A set that an earlier stream told is stale. It is kept until the control plane says what there is
/// now; that something is not there any more says nothing of the rest.
fn apply(
    path: &str,
    known: &mut BTreeMap<SocketAddr, Endpoint>,
    is_stale: &mut bool,
    update: Update,
) -> Option<EndpointsState> {
    let change = update.update?;
    let says_what_is = !matches!(change, Change::Remove(_));
    if *is_stale && !says_what_is {
        return None;
    }
    if std::mem::take(is_stale) {
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
