//! The composition root: the only place where the parts of the proxy meet.
//!
//! Everything that can fail at the start does so in [`App::new`], before anything runs. Traffic has
//! the main thread to itself, or threads of its own if there are to be several; the control plane's
//! streams and the admin port share another one, so that neither a burst of updates nor a scrape
//! costs a request.

mod thread;
mod traffic;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::{self, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use self::thread::Thread;
use self::traffic::{Serving, Side, Traffic, local_runtime};
use crate::admin::{self, Admin};
use crate::config::Config;
use crate::control::{self, Client, Resolver};
use crate::discovery::{self, Discovery};
use crate::drain;
use crate::http::task;
use crate::identity::{self, Id, InvalidId};
use crate::mutants::{self, Mutant};
use crate::policy::inbound::ServerPolicy;
use crate::policy::outbound::Queue;
use crate::readiness::Readiness;
use crate::telemetry::log::{Flush, Level};
use crate::telemetry::{AccessLog, Telemetry, set_workers};
use crate::tls::{self, Credentials, LocalName};
use crate::transport::listen;

/// Pause between the warnings that there is still no certificate.
const UNCERTIFIED_WARNING: Duration = Duration::from_secs(15);

/// Pause between two looks for metrics that nothing uses any more.
const METRICS_SWEEP: Duration = Duration::from_secs(60);

/// Why the proxy does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// A file of the identity cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, io::Error),
    /// The local name is no identity.
    #[error("LINKERD2_PROXY_IDENTITY_LOCAL_NAME: {0}")]
    Name(#[from] InvalidId),
    /// Key and trust anchors cannot be used.
    #[error("identity: {0}")]
    Credentials(#[from] tls::Error),
    /// The address of a control-plane component cannot be used.
    #[error("control plane: {0}")]
    Control(#[from] control::ConnectError),
    /// The system gives no thread, no timer or no signals.
    #[error("runtime: {0}")]
    Runtime(#[from] io::Error),
}

/// A proxy whose listeners are bound.
pub struct App {
    config: Arc<Config>,
    telemetry: Telemetry,
    credentials: Credentials,
    csr: Vec<u8>,
    /// Moved into the servers, so that the ports close when the drain begins.
    traffic: Vec<(Side, TcpListener)>,
    admin: TcpListener,
    level: Option<Level>,
    access_log: Option<AccessLog>,
    flush: Option<Flush>,
}

/// The control runtime on its thread. Dropped, it ends.
struct Control {
    handle: Handle,
    _thread: Thread,
}

// === impl App ===

impl App {
    /// Reads the identity and binds all listeners.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn new(config: Config, level: Option<Level>) -> Result<Self, StartError> {
        set_workers(config.cores.get());
        let identity = &config.identity;
        let read = |name: &str| {
            let path = identity.dir.join(name);
            std::fs::read(&path).map_err(|error| StartError::File(path, error))
        };
        let local = LocalName {
            id: Id::parse(&identity.local_name)?,
            server_name: identity.server_name.as_str().into(),
        };
        let credentials = Credentials::new(local, &identity.trust_anchors, read("key.p8")?)?;
        let bind = |addr| listen::bind(addr).map_err(|error| StartError::Listen(addr, error));
        let outbound = config
            .outbound
            .listen
            .iter()
            .map(|addr| (Side::Outbound, *addr));
        let traffic: Result<_, StartError> = outbound
            .chain([(Side::Inbound, config.inbound.listen)])
            .map(|(side, addr)| Ok((side, bind(addr)?)))
            .collect();
        let (access_log, flush) = config.inbound.access_log.map(AccessLog::start).unzip();
        Ok(Self {
            csr: read("csr.der")?,
            traffic: traffic?,
            admin: bind(config.admin_addr)?,
            telemetry: Telemetry::new(config.metrics_retain_idle),
            credentials,
            level,
            access_log,
            flush,
            config: Arc::new(config),
        })
    }

    /// Runs until SIGTERM, SIGINT or, where it is enabled, a `POST /shutdown`, and drains.
    ///
    /// # Errors
    /// [`StartError`], before any connection is accepted.
    pub fn run(mut self) -> Result<(), StartError> {
        let control = Control::start()?;
        let readiness = Readiness::new();
        let shutdown = Arc::new(Notify::new());
        let discovery = self.start_control(&control.handle, &readiness, &shutdown)?;
        // It goes after the runtime: requests that end with that are logged, too.
        let _flush = self.flush.take();
        let runtime = local_runtime()?;
        let certified = readiness.task("identity");
        runtime.block_on(async move {
            let mut ended = std::pin::pin!(ended(&shutdown)?);
            tokio::select! {
                () = await_certificate(&self.credentials) => {}
                () = &mut ended => return Ok(()),
            }
            let (trigger, watch) = drain::channel();
            let serving = self.start_traffic(discovery, watch)?;
            drop(certified);
            ended.await;
            if mutants::active(Mutant::NoDrain) {
                return Ok(());
            }
            tracing::info!("Draining");
            if trigger.drain(self.config.shutdown_grace).await {
                serving.ended().await;
            } else {
                tracing::warn!(grace = ?self.config.shutdown_grace, "Connections left at the end");
            }
            assert!(
                !mutants::active(Mutant::PanicsWhileDraining),
                "a planted defect"
            );
            Ok(())
        })
    }

    /// Starts what runs beside the traffic.
    fn start_control(
        &self,
        handle: &Handle,
        readiness: &Readiness,
        shutdown: &Arc<Notify>,
    ) -> Result<Discovery, StartError> {
        let config = &self.config;
        let resolver = Arc::new(Resolver::new(self.telemetry.clone(), config.dns_ttl));
        let client = |component, addr| {
            let credentials = self.credentials.clone();
            Client::new(
                component,
                addr,
                credentials,
                Arc::clone(&resolver),
                &self.telemetry,
            )
        };
        let destination = client("destination", &config.destination)?;
        let policy = client("policy", &config.policy)?;
        let settings = discovery_settings(config);
        let discovery = Discovery::new(handle.clone(), destination, policy, settings);
        handle.spawn(identity::run(
            self.credentials.clone(),
            client("identity", &config.identity.addr)?,
            self.identity_settings(),
            self.telemetry.identity(),
        ));
        let policy = discovery.inbound(config.admin_addr.port());
        let shutdown = config.shutdown_endpoint.then(|| Arc::clone(shutdown));
        let server = self.admin_server(policy, readiness, shutdown);
        let listener = {
            let _guard = handle.enter();
            tokio::net::TcpListener::from_std(self.admin.try_clone()?)?
        };
        handle.spawn(admin::serve(listener, server));
        let telemetry = self.telemetry.clone();
        handle.spawn(async move {
            loop {
                tokio::time::sleep(METRICS_SWEEP).await;
                telemetry.sweep();
            }
        });
        Ok(discovery)
    }

    fn identity_settings(&self) -> identity::Settings {
        let (min_refresh, max_refresh) = self.config.identity.refresh;
        identity::Settings {
            id: self.credentials.local_name().id.clone(),
            csr: self.csr.clone(),
            token_file: self.config.identity.token_file.clone(),
            min_refresh,
            max_refresh,
        }
    }

    /// The admin server, under `policy`; it can end the proxy when it is given `shutdown`.
    fn admin_server(
        &self,
        policy: watch::Receiver<Arc<ServerPolicy>>,
        readiness: &Readiness,
        shutdown: Option<Arc<Notify>>,
    ) -> admin::Server {
        admin::Server {
            admin: Admin::new(
                self.telemetry.clone(),
                readiness.clone(),
                self.credentials.clone(),
                self.level.clone(),
                shutdown,
            ),
            credentials: self.credentials.clone(),
            policy,
            telemetry: self.telemetry.clone(),
        }
    }

    fn start_traffic(&mut self, discovery: Discovery, drain: drain::Watch) -> io::Result<Serving> {
        let traffic = Traffic::new(
            Arc::clone(&self.config),
            discovery,
            self.telemetry.clone(),
            self.access_log.clone(),
            self.credentials.clone(),
            drain,
        );
        traffic.start(std::mem::take(&mut self.traffic))
    }
}

// === impl Control ===

impl Control {
    fn start() -> io::Result<Self> {
        let runtime: Runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let thread = Thread::start("control".to_owned(), move |stop| {
            runtime.block_on(stop.notified());
        })?;
        Ok(Self {
            handle,
            _thread: thread,
        })
    }
}

fn discovery_settings(config: &Config) -> discovery::Settings {
    let direction = &config.outbound.direction;
    discovery::Settings {
        context_token: config.lookup.context.clone(),
        workload: config.policy_workload.clone(),
        networks: config.lookup.networks.clone(),
        outbound_idle: direction.discovery_idle,
        inbound_idle: config.inbound.direction.discovery_idle,
        streams: config.control_streams,
        detect_timeout: direction.detect_timeout,
        queue: Queue {
            capacity: direction.queue_capacity,
            failfast_timeout: direction.failfast_timeout,
        },
        inbound: config.inbound.clone(),
    }
}

/// A future that ends when the proxy is told to.
fn ended(shutdown: &Notify) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.notified() => {}
        }
    })
}

/// Waits for the first certificate: without one there is no mesh, and no connection is accepted.
async fn await_certificate(credentials: &Credentials) {
    if mutants::active(Mutant::LeaksWhileRestarting) {
        return;
    }
    let _warnings = task::Owned::spawn(async {
        loop {
            tokio::time::sleep(UNCERTIFIED_WARNING).await;
            tracing::warn!("Waiting for identity to be initialized...");
        }
    });
    credentials.ready().await;
}
