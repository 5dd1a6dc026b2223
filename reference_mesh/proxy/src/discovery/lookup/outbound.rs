//! The policy of an outbound address or name: the policy controller's, else what its profile asks for.
//!
//! Linkerd's controller has no policy for what is no service: of a pod that is called by its own
//! address only the profile tells who it is. So what comes of "no policy" must never be plain text by
//! guess: a controller that restarts says so of services, too, and the one that answers for profiles may
//! be slow or down. Nothing is sent before a profile came, and what was learned is kept, whatever a later
//! answer says; it goes when nobody uses it.

use std::future::pending;
use std::sync::Arc;

use linkerd2_proxy_api::outbound::outbound_policies_client::OutboundPoliciesClient;
use linkerd2_proxy_api::outbound::traffic_spec::Target as TrafficTarget;
use linkerd2_proxy_api::outbound::{OutboundPolicy, TrafficSpec};
use tokio::sync::watch;
use tonic::Code;

use super::{Lookup, MAX_MESSAGE_BYTES};
use crate::discovery::follow::{Follower, is_final};
use crate::discovery::watches::Feed;
use crate::discovery::{Addr, At, Endpoint, Profile};
use crate::policy::outbound::{Balance, Dispatcher, Load, Policy};

/// What the policy controller said of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// That it has no policy for it.
    NoPolicy,
    Policy,
}

impl Lookup {
    /// Follows the policy of an outbound target; `profile` is what is known of it otherwise, none where
    /// that is not asked for.
    pub(in crate::discovery) async fn outbound(
        self,
        addr: Addr,
        profile: Option<watch::Receiver<Arc<Profile>>>,
        feed: Feed<Arc<Policy>>,
    ) {
        let said = watch::Sender::new(Said::Nothing);
        let mut without_policy = said.subscribe();
        let by_profile = async {
            // Only while there is no policy: each of the two would write over the other.
            let _ = without_policy
                .wait_for(|said| *said == Said::NoPolicy)
                .await;
            tokio::select! {
                biased;
                _ = without_policy.wait_for(|said| *said == Said::Policy) => {}
                () = self.follow_profile(&addr, profile, &feed) => {}
            }
        };
        tokio::join!(self.follow_policy(&addr, &said, &feed), by_profile);
    }

    async fn follow_policy(
        &self,
        addr: &Addr,
        said: &watch::Sender<Said>,
        feed: &Feed<Arc<Policy>>,
    ) {
        let client = OutboundPoliciesClient::new(self.policy.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let open = || {
            let mut client = client.clone();
            let spec = TrafficSpec {
                source_workload: self.settings.workload.clone(),
                target: Some(traffic_target(addr)),
            };
            async move { client.watch(spec).await }
        };
        let message = |policy: OutboundPolicy, _| {
            said.send_replace(Said::Policy);
            feed.set(Arc::new(self.read(addr, policy)));
        };
        let mut follower = Follower::new(&self.policy, self.settings.streams);
        loop {
            let status = follower.run(feed, open, message).await;
            tracing::debug!(%addr, %status, "outbound policy watch failed");
            if *said.borrow() != Said::Policy {
                if matches!(status.code(), Code::NotFound | Code::Unimplemented) {
                    said.send_replace(Said::NoPolicy);
                } else if is_final(&status) && !feed.has_learned() {
                    feed.set(Arc::new(Policy::invalid(status.message())));
                }
            }
            follower.pause_after(&status).await;
        }
    }

    fn read(&self, addr: &Addr, policy: OutboundPolicy) -> Policy {
        let policy = Policy::try_from(policy).unwrap_or_else(|error| {
            tracing::warn!(%addr, %error, "Client policy misconfigured");
            Policy::invalid(error.to_string())
        });
        if let Some(parts) = self.told.news_of(&policy) {
            let (kind, name) = (policy.parent.kind(), policy.parent.name());
            let namespace = policy.parent.namespace();
            tracing::warn!(%addr, kind, namespace, name, "Not enforced by this version: {parts}");
        }
        policy
    }

    /// Keeps the policy that the profile asks for. Does not return.
    async fn follow_profile(
        &self,
        addr: &Addr,
        profile: Option<watch::Receiver<Arc<Profile>>>,
        feed: &Feed<Arc<Policy>>,
    ) {
        let Some(mut profile) = profile else {
            feed.set(Arc::new(self.single(unknown(addr), false)));
            return pending().await;
        };
        loop {
            let current = Arc::clone(&profile.borrow_and_update());
            if let Some(policy) = self.asked_by(addr, &current) {
                feed.set(Arc::new(policy));
            }
            if profile.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// What a profile asks for; none when it says nothing yet.
    fn asked_by(&self, addr: &Addr, profile: &Profile) -> Option<Policy> {
        let dispatcher = match (&profile.at, &profile.fqn) {
            (At::Untold, _) => return None,
            (At::Unusable, _) => {
                return Some(Policy::invalid(format!(
                    "the endpoint that the profile of {addr} names cannot be used"
                )));
            }
            (At::Endpoint(endpoint), _) => Dispatcher::Forward(endpoint.clone()),
            // Its endpoints may be meshed; its own address knows nothing of that.
            (At::Unnamed, Some(service)) => Dispatcher::Balance(Balance {
                path: format!("{service}:{}", addr.port()).into(),
                load: Load::DEFAULT,
            }),
            (At::Unnamed, None) => unknown(addr),
        };
        Some(self.single(dispatcher, profile.opaque))
    }

    fn single(&self, dispatcher: Dispatcher, opaque: bool) -> Policy {
        let settings = &self.settings;
        Policy::single(dispatcher, opaque, settings.detect_timeout, settings.queue)
    }
}

fn traffic_target(addr: &Addr) -> TrafficTarget {
    match addr {
        Addr::Socket(addr) => TrafficTarget::Addr((*addr).into()),
        Addr::Name(name) => TrafficTarget::Authority(name.to_string()),
    }
}

/// Where what goes to a target goes that the control plane knows nothing of: to the address as it is,
/// to a name nowhere.
fn unknown(addr: &Addr) -> Dispatcher {
    match addr {
        Addr::Socket(addr) => Dispatcher::Forward(Endpoint::plain(*addr)),
        Addr::Name(name) => Dispatcher::Fail(name.undiscovered()),
    }
}
