//! What is where: endpoints, profiles and policies, watched from the control plane.
//!
//! Each key (an address, a name, a port) is watched once, by a task on the control runtime, however
//! many connections use it; the data path reads the last value from a `tokio::sync::watch`. A
//! failure of the control plane never takes a value away: what was known stays, and is replaced when
//! the stream is back. A value that no connection uses is forgotten after an idle time, except while
//! the control plane cannot be heard.

mod addr;
mod endpoint;
mod endpoint_proto;
mod follow;
mod lookup;
mod profile;
mod profile_proto;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::addr::{Addr, NameAddr, Suffix};
pub use self::endpoint::{
    Endpoint, EndpointMeta, Endpoints, EndpointsState, Http2Params, Labels, ProtocolHint,
};
use self::lookup::Lookup;
pub use self::profile::{
    At, Profile, ProfileMatch, ProfileRoute, ResponseClass, ResponseMatch, RetryBudget,
    WeightedTarget,
};
use self::watches::{Subscription, Task, Watches};
use crate::config::{self, ControlStreams};
use crate::control::Client;
use crate::policy::inbound::ServerPolicy;
use crate::policy::outbound::{Policy, Queue};

/// Longest wait for the first policy (and profile) of an outbound target, or for that of an inbound port
/// that the workload does not list. Then its connections are refused, with the reason, until the policy
/// is there.
const POLICY_LIMIT: Duration = Duration::from_secs(10);

/// Inbound ports that are watched at a time only because clients connect to them. An application
/// has few; more are a scan, and the look-ups of all share a connection.
const MAX_UNLISTED_PORTS: usize = 256;

/// Names that are watched at a time: clients choose them.
const MAX_NAMES: usize = 1000;

/// What look-ups send along and how long they live.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Opaque text for the destination controller.
    pub context_token: String,
    /// Name of this workload for the policy controller.
    pub workload: String,
    /// Networks whose addresses have profiles.
    pub networks: Vec<IpNet>,
    /// How long an outbound target that nobody uses is kept.
    pub outbound_idle: Duration,
    /// How long an inbound port that nobody uses is kept.
    pub inbound_idle: Duration,
    /// Limits of streams.
    pub streams: ControlStreams,
    /// Detection time of targets without policy.
    pub detect_timeout: Duration,
    /// Queue of targets without policy.
    pub queue: Queue,
    /// Defaults of inbound ports.
    pub inbound: config::Inbound,
}

/// Why a client's connection to a port cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoServerPolicy {
    /// The controller has not said yet who may come in.
    #[error("no policy for the port from the control plane within {POLICY_LIMIT:?}")]
    Unknown,
    /// There are too many of them.
    #[error("clients connect to too many ports that the workload does not list")]
    TooManyPorts,
}

/// Looks things up in the control plane. Cheap to clone.
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    control: Handle,
    lookup: Lookup,
    outbound: Arc<Watches<Addr, Arc<Policy>>>,
    profiles: Arc<Watches<Arc<str>, Arc<Profile>>>,
    endpoints: Arc<Watches<Arc<str>, EndpointsState>>,
    inbound: Arc<Watches<u16, Arc<ServerPolicy>>>,
    /// The tasks behind the values; they end with this.
    tasks: Mutex<JoinSet<()>>,
}

// === impl Discovery ===

impl Discovery {
    /// Look-ups that run on `control`.
    #[must_use]
    pub fn new(control: Handle, destination: Client, policy: Client, settings: Settings) -> Self {
        let (outbound_idle, inbound_idle) = (settings.outbound_idle, settings.inbound_idle);
        Self(Arc::new(Inner {
            control,
            lookup: Lookup {
                destination,
                policy,
                settings: Arc::new(settings),
                told: Arc::default(),
            },
            outbound: Watches::new(outbound_idle),
            profiles: Watches::new(outbound_idle),
            endpoints: Watches::new(outbound_idle),
            inbound: Watches::new(inbound_idle),
            tasks: Mutex::default(),
        }))
    }

    /// The policy for what goes to `addr`, once one is known. Where the controller has none, the one
    /// that its profile asks for.
    pub async fn outbound_policy(&self, addr: Addr) -> watch::Receiver<Arc<Policy>> {
        let lookup = self.0.lookup.clone();
        let has_profile = self.has_profile(&addr);
        let profile = has_profile.then(|| self.watch_profile(&addr.to_string()).now());
        let placeholder =
            || Policy::invalid(format!("no policy for {addr} from the control plane yet")).into();
        let follow = |feed| lookup.outbound(addr.clone(), profile, feed);
        let key = addr.clone();
        let (subscription, task) = self.0.outbound.subscribe(key, placeholder, follow);
        self.0.spawn(task);
        subscription.known(POLICY_LIMIT).await
    }

    /// Whether `addr` may be looked up for a client that chose it: it is already, or not too many names
    /// are.
    #[must_use]
    pub fn has_room_for(&self, addr: &Addr) -> bool {
        let is_name = |addr: &Addr| addr.socket().is_none();
        self.0.outbound.contains(addr) || self.0.outbound.count(is_name) < MAX_NAMES
    }

    /// The profile of `target` (`host:port`, or an address), or an empty one where there is none.
    pub async fn profile(&self, target: &str) -> watch::Receiver<Arc<Profile>> {
        self.watch_profile(target).known(POLICY_LIMIT).await
    }

    /// The endpoints of a destination (`host:port`); pending at first.
    #[must_use]
    pub fn endpoints(&self, path: &str) -> watch::Receiver<EndpointsState> {
        let lookup = self.0.lookup.clone();
        let path: Arc<str> = path.into();
        let (subscription, task) =
            self.0
                .endpoints
                .subscribe(path.clone(), EndpointsState::default, |feed| {
                    lookup.endpoints(path, feed)
                });
        self.0.spawn(task);
        subscription.now()
    }

    /// Whether the policy of an inbound port is watched.
    #[must_use]
    pub fn watches_inbound(&self, port: u16) -> bool {
        self.0.inbound.contains(&port)
    }

    /// The policy of an inbound port that a client named.
    ///
    /// Of a port that the workload does not list nothing is known before the first client comes, and
    /// again after each time without one. That client waits: where the controller has not said who
    /// may come in, the default policy might let in whom the port's own does not. Linkerd's proxy
    /// does not wait. It judges the first client by the default policy, and ends its connection when
    /// the policy is there, by when a whole request may have been served. A policy that is known
    /// holds for as long as the controller cannot be heard.
    ///
    /// # Errors
    /// The reason to refuse the client: there is no policy yet, or clients have named too many ports.
    pub async fn inbound_by_client(
        &self,
        port: u16,
    ) -> Result<watch::Receiver<Arc<ServerPolicy>>, NoServerPolicy> {
        let listed = &self.0.lookup.settings.inbound.ports;
        if listed.contains(&port) {
            return Ok(self.inbound(port));
        }
        let limit = listed.len() + MAX_UNLISTED_PORTS;
        if !self.watches_inbound(port) && self.0.inbound.len() >= limit {
            return Err(NoServerPolicy::TooManyPorts);
        }
        let policy = self.watch_inbound(port).known_in(POLICY_LIMIT).await;
        policy.ok_or(NoServerPolicy::Unknown)
    }

    /// The policy of an inbound port; the default one until the controller answers.
    #[must_use]
    pub fn inbound(&self, port: u16) -> watch::Receiver<Arc<ServerPolicy>> {
        self.watch_inbound(port).now()
    }

    fn watch_inbound(&self, port: u16) -> Subscription<Arc<ServerPolicy>> {
        let lookup = self.0.lookup.clone();
        let default = || Arc::new(ServerPolicy::default_for(&lookup.settings.inbound, port));
        let follow = |feed| self.0.lookup.clone().inbound(port, feed);
        let (subscription, task) = self.0.inbound.subscribe(port, default, follow);
        self.0.spawn(task);
        subscription
    }

    fn watch_profile(&self, target: &str) -> Subscription<Arc<Profile>> {
        let lookup = self.0.lookup.clone();
        let target: Arc<str> = target.into();
        let asks = target
            .parse()
            .map_or(true, |addr| self.has_profile(&Addr::Socket(addr)));
        let key = target.clone();
        let follow = |feed: watches::Feed<Arc<Profile>>| async move {
            if asks {
                lookup.profile(target, feed).await;
            } else {
                feed.heard(true);
                feed.settle();
            }
        };
        let (subscription, task) = self.0.profiles.subscribe(key, Arc::default, follow);
        self.0.spawn(task);
        subscription
    }

    /// Whether the control plane is asked for the profile of `addr`.
    fn has_profile(&self, addr: &Addr) -> bool {
        let mut networks = self.0.lookup.settings.networks.iter();
        match addr.socket() {
            Some(addr) => networks.any(|net| net.contains(&addr.ip())),
            None => true,
        }
    }
}

// === impl Inner ===

impl Inner {
    fn spawn(&self, task: Option<Task>) {
        let Some(task) = task else { return };
        let mut tasks = self.tasks.lock();
        // Those that expired.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.control);
    }
}
