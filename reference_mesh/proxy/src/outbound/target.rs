//! A destination that the application connects to or names, and the cache of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ::http::HeaderValue;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use super::Outbound;
use super::routes::Routes;
use crate::detect;
use crate::discovery::{Addr, Profile};
use crate::http::task;
use crate::policy::Meta;
use crate::policy::outbound::{Http, Policy, Protocol};

/// What a client's connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http1,
    Http2,
    Opaque,
    Tls,
}

/// A place in the cache; the target in it is looked up once.
#[derive(Default)]
pub(super) struct Slot(OnceCell<Rc<Target>>);

/// See the module.
pub(super) struct Target {
    pub(super) addr: Addr,
    policy: RefCell<watch::Receiver<Arc<Policy>>>,
    profile: watch::Receiver<Arc<Profile>>,
    routes: RefCell<Rc<Routes>>,
    canonical: RefCell<Canonical>,
    last_used: Cell<Instant>,
}

/// The service's name and port as a header says them; made anew when the profile has changed.
struct Canonical {
    profile: watch::Receiver<Arc<Profile>>,
    port: u16,
    value: Option<HeaderValue>,
}

/// A target that is in use until this is dropped.
pub(super) struct Used(pub(super) Rc<Target>);

// === impl Kind ===

impl Kind {
    /// The `protocol` label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http/1",
            Self::Http2 => "http/2",
            Self::Opaque => "opaq",
            Self::Tls => "tls",
        }
    }
}

impl From<Option<detect::Http>> for Kind {
    fn from(http: Option<detect::Http>) -> Self {
        match http {
            Some(detect::Http::Http1) => Self::Http1,
            Some(detect::Http::Http2) => Self::Http2,
            None => Self::Opaque,
        }
    }
}

// === impl Target ===

impl Target {
    /// The policy in force.
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow().borrow())
    }

    /// The resource that the policy is for.
    pub(super) fn parent(&self) -> Arc<Meta> {
        Arc::clone(&self.policy().parent)
    }

    /// Whether the profile says that bytes are bytes.
    pub(super) fn is_opaque(&self) -> bool {
        self.profile.borrow().opaque
    }

    /// Name and port of the service, if the target belongs to one.
    pub(super) fn canonical_name(&self) -> Option<HeaderValue> {
        let mut canonical = self.canonical.borrow_mut();
        // A closed channel never changes again.
        if canonical.profile.has_changed().unwrap_or(false) {
            canonical.read();
        }
        canonical.value.clone()
    }

    /// The policy in force, ready for requests.
    pub(super) fn routes(&self, outbound: &Rc<Outbound>) -> Rc<Routes> {
        let mut policy = self.policy.borrow_mut();
        // A closed channel never changes again.
        if policy.has_changed().unwrap_or(false) {
            let new = Arc::clone(&policy.borrow_and_update());
            let old = Rc::clone(&self.routes.borrow());
            *self.routes.borrow_mut() = Rc::new(Routes::new(outbound, new, Some(&old)));
        }
        Rc::clone(&self.routes.borrow())
    }

    /// Notes that it was used.
    pub(super) fn touch(&self) {
        self.last_used.set(Instant::now());
    }
}

// === impl Canonical ===

impl Canonical {
    fn new(profile: watch::Receiver<Arc<Profile>>, port: u16) -> Self {
        let mut canonical = Self {
            profile,
            port,
            value: None,
        };
        canonical.read();
        canonical
    }

    fn read(&mut self) {
        let profile = self.profile.borrow_and_update();
        let name = profile.fqn.as_ref();
        self.value = name.and_then(|name| format!("{name}:{}", self.port).try_into().ok());
    }
}

// === impl Used ===

impl Drop for Used {
    fn drop(&mut self) {
        self.0.touch();
    }
}

/// The HTTP routes of `policy` for clients that speak `kind`.
pub(super) fn http_routes(policy: &Policy, kind: Kind) -> Option<&Http> {
    match &policy.protocol {
        Protocol::Detect { http2, .. } if kind == Kind::Http2 => Some(http2),
        Protocol::Detect { http1, .. } => Some(http1),
        Protocol::Http1(http) | Protocol::Http2(http) | Protocol::Grpc(http) => Some(http),
        Protocol::Opaque(_) | Protocol::Tls(_) | Protocol::Invalid(_) => None,
    }
}

// === impl Outbound ===

impl Outbound {
    /// The target at `addr`, looked up if it is new.
    pub(super) async fn target(self: &Rc<Self>, addr: Addr) -> Rc<Target> {
        let slot = Rc::clone(self.targets.borrow_mut().entry(addr.clone()).or_default());
        let target = slot.0.get_or_init(|| Box::pin(self.look_up(addr))).await;
        target.touch();
        Rc::clone(target)
    }

    async fn look_up(self: &Rc<Self>, addr: Addr) -> Rc<Target> {
        let (name, port) = (addr.to_string(), addr.port());
        let (mut policy, profile) = tokio::join!(
            self.discovery.outbound_policy(addr.clone()),
            self.discovery.profile(&name)
        );
        let first = Arc::clone(&policy.borrow_and_update());
        Rc::new(Target {
            addr,
            routes: RefCell::new(Rc::new(Routes::new(self, first, None))),
            policy: RefCell::new(policy),
            canonical: RefCell::new(Canonical::new(profile.clone(), port)),
            profile,
            last_used: Cell::new(Instant::now()),
        })
    }

    /// Forgets targets that no connection has used for the idle time; one task at a time does it.
    pub(super) fn sweep_later(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        let outbound = Rc::downgrade(self);
        let idle = self.config.outbound.direction.discovery_idle;
        task::background(async move {
            loop {
                tokio::time::sleep(idle).await;
                let Some(outbound) = outbound.upgrade() else {
                    return;
                };
                if outbound.sweep(idle) == 0 {
                    outbound.sweeping.set(false);
                    return;
                }
            }
        });
    }

    /// Forgets idle targets; how many are left.
    fn sweep(&self, idle: std::time::Duration) -> usize {
        let now = Instant::now();
        let mut targets = self.targets.borrow_mut();
        targets.retain(|_, slot| match slot.0.get() {
            Some(target) => Rc::strong_count(target) > 1 || now - target.last_used.get() < idle,
            None => Rc::strong_count(slot) > 1,
        });
        targets.len()
    }
}
